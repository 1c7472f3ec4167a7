//! One defect, one strategy, one seed: a hunt on one core up to the first finding.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep::{Options, Policy};
use optimized::{Defect, Defects};
use program::Campaign;
use serde::{Deserialize, Serialize};

use crate::campaign::{self, Plan};
use crate::finding;

/// The name of the default: several strategies in turn.
pub const MIX: &str = "mix";

/// What to try.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    defect: Defect,
    /// `None`: the default mix.
    strategy: Option<Policy>,
    seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Name of the defect.
    pub name: String,
    /// Name of the strategy.
    pub strategy: String,
    pub seed: u64,
    /// Executions up to the finding, that one included; none if there is none.
    pub execs: Option<u64>,
    /// Executions in all.
    pub ran: u64,
    /// Seconds until it was seen, or in all.
    pub seconds: f64,
    /// Class of the finding.
    pub class: Option<String>,
    /// Operations of the minimised program.
    pub steps: Option<usize>,
    /// Whether that program has operations beside each other.
    pub concurrent: bool,
}

impl Trial {
    pub fn mix(defect: Defect, seed: u64) -> Trial {
        Trial { defect, strategy: None, seed }
    }

    pub fn under(defect: Defect, policy: Policy, seed: u64) -> Trial {
        Trial { defect, strategy: Some(policy), seed }
    }

    fn strategy(&self) -> &'static str {
        self.strategy.map_or(MIX, Policy::name)
    }

    /// Hunts.
    pub fn run(&self, budget: Duration, execs: Option<u64>, stop: &AtomicBool) -> Tried {
        let mut defects = Defects::NONE;
        defects.insert(self.defect);
        let plan = Plan {
            campaign: Campaign { concurrent: 128, ..Campaign::new(self.seed) },
            family: None,
            strategy: self.strategy,
            execs,
            time: Some(budget),
            threads: 1,
            defects,
            keep_going: false,
            options: Options::default(),
        };
        let start = Instant::now();
        let report = campaign::run(&plan, stop, |_| {});
        let seconds = start.elapsed().as_secs_f64();
        let first = report.findings.into_iter().next();
        let mut tried = Tried {
            name: self.defect.info().name.to_owned(),
            strategy: self.strategy().to_owned(),
            seed: self.seed,
            execs: first.as_ref().map(|found| found.index + 1),
            ran: report.stats.programs,
            seconds,
            class: first.as_ref().map(|found| found.symptom.class.clone()),
            steps: None,
            concurrent: false,
        };
        let over = || stop.load(Ordering::Relaxed);
        if let Some(finding) = first.and_then(|found| finding::minimised(found, &plan, over)) {
            tried.steps = Some(finding.program.steps().count());
            tried.concurrent = finding.program.phases.iter().any(|phase| phase.steps.len() > 1);
        }
        tried
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} seed {}", self.defect.info().name, self.strategy(), self.seed)
    }
}

impl Tried {
    /// Whether it is the outcome of this trial.
    pub fn is_of(&self, trial: &Trial) -> bool {
        let key = (trial.defect.info().name, trial.strategy(), trial.seed);
        (&*self.name, &*self.strategy, self.seed) == key
    }

    /// In the order of the catalogue, whatever order the trials ended in.
    pub fn order(&self) -> (usize, String, u64) {
        let at = Defect::ALL.iter().position(|defect| defect.info().name == self.name);
        (at.unwrap_or(usize::MAX), self.strategy.clone(), self.seed)
    }
}
