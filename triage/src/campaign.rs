//! Many programs over all cores, with a result that does not depend on how many there are.
//!
//! Executions are numbered; number `i` of a seed is always the same program. They are handed out
//! in chunks in ascending order, a chunk that was handed out is finished, and reports are merged
//! in order up to the first finding: so the finding reported is the one of the lowest number, and
//! the counters are those of the executions up to it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lockstep::{Options, Policy, Scheduler, Stats};
use optimized::Defects;
use program::digest::mix;
use program::{Campaign, Decoder, Family, Program, Schedule, SplitMix64};

use crate::judge::{Judge, Symptom, Trouble};

/// Executions a chunk: about a millisecond of work.
const CHUNK: u64 = 256;

/// Executions of one program under reads-from, which learns from the first. Divides [`CHUNK`].
const ROUNDS: u64 = 8;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the programs come from.
    pub campaign: Campaign,
    /// The family that they are of, if of one.
    pub family: Option<Family>,
    /// Who schedules concurrent phases; `None`: several in turn.
    pub strategy: Option<Policy>,
    /// Number of executions.
    pub execs: Option<u64>,
    /// Time.
    pub time: Option<Duration>,
    /// Number of threads.
    pub threads: usize,
    /// Defects of the optimised side.
    pub defects: Defects,
    /// Whether a finding ends it.
    pub keep_going: bool,
    /// How thoroughly to look.
    pub options: Options,
}

impl Plan {
    /// Who schedules the phases of execution `index`.
    fn policy(&self, index: u64) -> Policy {
        self.strategy.unwrap_or_else(|| Policy::in_turn(index))
    }

    /// The byte form of the program that execution `index` runs.
    fn generate(&self, index: u64, bytes: &mut Vec<u8>) {
        let (campaign, number) = (&self.campaign, self.number(index));
        match self.family {
            Some(family) => {
                let mut rng = SplitMix64::new(mix(campaign.seed) ^ number);
                family.generate(campaign.steps, &mut rng, bytes);
            }
            None => campaign.generate(number, bytes),
        }
    }

    /// The number of its program.
    fn number(&self, index: u64) -> u64 {
        if self.strategy == Some(Policy::ReadsFrom) { index / ROUNDS } else { index }
    }
}

/// One kind of finding.
#[derive(Clone, Debug)]
pub struct Found {
    /// Number of the first execution that showed it.
    pub index: u64,
    /// How many did.
    pub times: u64,
    /// Who scheduled its phases.
    pub policy: Policy,
    /// The schedule that they had, unless it is the program's own.
    pub schedule: Option<Schedule>,
    /// What they have in common.
    pub symptom: Symptom,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Counters.
    pub stats: Stats,
    /// Findings, by number of the execution.
    pub findings: Vec<Found>,
}

impl Report {
    fn merge(&mut self, other: Report) {
        self.stats.merge(&other.stats);
        for found in other.findings {
            match self.findings.iter_mut().find(|known| known.symptom == found.symptom) {
                Some(known) => known.times += found.times,
                None => self.findings.push(found),
            }
        }
    }
}

/// Reports of finished chunks; those that others must precede wait.
#[derive(Default)]
struct Collector {
    report: Report,
    next: u64,
    waiting: BTreeMap<u64, Report>,
    done: bool,
}

impl Collector {
    fn add(&mut self, chunk: u64, report: Report, keep_going: bool) {
        self.waiting.insert(chunk, report);
        while let Some(report) = self.waiting.remove(&self.next) {
            self.next += 1;
            if !self.done {
                self.report.merge(report);
                self.done = !keep_going && !self.report.findings.is_empty();
            }
        }
    }
}

/// Generates and runs programs until the plan is fulfilled, something is found or `stop` is set.
/// `progress` sees the counters now and then.
pub fn run(plan: &Plan, stop: &AtomicBool, progress: impl Fn(&Stats) + Sync) -> Report {
    let deadline = plan.time.and_then(|time| Instant::now().checked_add(time));
    let next = AtomicU64::new(0);
    let last = AtomicU64::new(u64::MAX);
    let collector = Mutex::new(Collector::default());
    // However late it is, one chunk is run: a hunt without a program would say nothing.
    let late = || {
        next.load(Ordering::Relaxed) > 0
            && deadline.is_some_and(|deadline| Instant::now() >= deadline)
    };
    let over = || stop.load(Ordering::Relaxed) || late();
    let work = || {
        let mut worker = Worker::new(plan);
        // Once a chunk is taken it is run, so that the chunks that are run leave no gap.
        while !over() {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let first = chunk.saturating_mul(CHUNK);
            let end = first.saturating_add(CHUNK).min(plan.execs.unwrap_or(u64::MAX));
            if first >= end || chunk > last.load(Ordering::Relaxed) {
                break;
            }
            let report = worker.chunk(first, end);
            if !plan.keep_going && !report.findings.is_empty() {
                last.fetch_min(chunk, Ordering::Relaxed);
            }
            let mut collector = collector.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            collector.add(chunk, report, plan.keep_going);
            progress(&collector.report.stats);
        }
    };
    match rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build() {
        Ok(pool) => {
            pool.broadcast(|_| work());
        }
        // No threads to be had: one will do.
        Err(_) => work(),
    }
    collector.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).report
}

/// The program of a finding, with the schedule that it had.
pub fn program(plan: &Plan, found: &Found) -> Program {
    let mut bytes = Vec::new();
    let mut program = Program::default();
    plan.generate(found.index, &mut bytes);
    Decoder::default().decode(&bytes, &mut program);
    if let Some(schedule) = &found.schedule {
        program.schedule.clone_from(schedule);
    }
    program
}

struct Worker<'a> {
    plan: &'a Plan,
    judge: Judge,
    decoder: Decoder,
    bytes: Vec<u8>,
    program: Program,
    scheduler: Scheduler,
}

impl<'a> Worker<'a> {
    fn new(plan: &'a Plan) -> Worker<'a> {
        let judge = Judge::new(plan.defects, plan.options);
        let (decoder, program) = (Decoder::default(), Program::default());
        let scheduler = Scheduler::default();
        Worker { plan, judge, decoder, bytes: Vec::new(), program, scheduler }
    }

    fn chunk(&mut self, first: u64, end: u64) -> Report {
        let mut report = Report::default();
        for index in first..end {
            self.plan.generate(index, &mut self.bytes);
            self.decoder.decode(&self.bytes, &mut self.program);
            if let Some((trouble, schedule)) = self.execute(index) {
                let (policy, symptom) = (self.plan.policy(index), trouble.symptom());
                let found = Found { index, times: 1, policy, schedule, symptom };
                report.merge(Report { findings: vec![found], ..Report::default() });
                if !self.plan.keep_going {
                    break;
                }
            }
        }
        report.stats.merge(&self.judge.take_stats());
        report
    }

    /// Runs the program; what it showed, and its schedule if another than its own.
    fn execute(&mut self, index: u64) -> Option<(Trouble, Option<Schedule>)> {
        let policy = self.plan.policy(index);
        let phases = || self.program.phases.iter().any(|phase| phase.steps.len() > 1);
        if policy == Policy::Own || !phases() {
            return self.judge.judge(&self.program).map(|trouble| (trouble, None));
        }
        if policy != Policy::ReadsFrom || index.is_multiple_of(ROUNDS) {
            let seed = Policy::seed(self.plan.campaign.seed, index);
            self.scheduler = policy.scheduler(&self.program, seed);
        }
        let (trouble, schedule) = self.judge.judge_under(&self.program, &mut self.scheduler)?;
        Some((trouble, Some(schedule)))
    }
}
