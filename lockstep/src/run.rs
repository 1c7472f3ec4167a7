//! One program, both sides, step by step.

use optimized::{Defects, Variant, World};
use program::digest::mix;
use program::{Call, Layout, Marked, Outcome, Phase, Program, Replay, Ret, Schedule, Slice, Step};
use reference::{Checks, Reference};

use crate::compare::{FieldDiff, Value, What, differences};
use crate::expects;
use crate::invariants::broken;
use crate::permission::Permission;
use crate::phase::{self, Stage};
use crate::scheduler::Scheduler;
use crate::stats::Stats;
use crate::subject::Subject;
use crate::teardown;
use crate::verdict::{Class, Divergence, Verdict, When};

/// How thoroughly a run looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Compare full snapshots and check the universal invariants after every step, not only at
    /// the end of one program in a hundred. Always on in debug builds.
    pub paranoid: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { paranoid: cfg!(debug_assertions) }
    }
}

/// What an observer sees after each step of the program.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a, R, O> {
    /// The step's number, from 0.
    pub number: usize,
    /// The step.
    pub step: &'a Step,
    /// What it returned on the reference.
    pub expected: &'a Outcome,
    /// What it returned on the optimised side.
    pub found: &'a Outcome,
    /// The reference, after the step.
    pub reference: &'a R,
    /// The optimised side, after the step.
    pub optimized: &'a O,
    /// The marks of the concurrent phase that the step is of; empty if it ran alone.
    pub trace: &'a [Marked],
}

/// Both sides, and buffers that every run reuses.
pub struct Lockstep<R = Reference, O = World> {
    pub(crate) reference: R,
    pub(crate) optimized: O,
    /// The optimised side without batching, once it was needed.
    pub(crate) twin: Option<O>,
    pub(crate) expected: Outcome,
    found: Outcome,
    pub(crate) layout: Layout,
    ending: Vec<Step>,
    pub(crate) stage: Stage,
    pub(crate) stats: Stats,
    /// A permission that is not given.
    pub(crate) withheld: Option<Permission>,
    /// A phase that is to run on the machine though nothing runs beside it.
    pub(crate) alone: Option<usize>,
}

/// The reference that does in the same order what this variant does.
pub fn reference_of(variant: Variant) -> Reference {
    let mut reference = Reference::new();
    reference.check_longterm(match variant {
        Variant::InWalkCheck | Variant::InLoopMigration => Checks::InWalk,
        Variant::DevicePrePass => Checks::DevicesFirst,
        Variant::DeviceBulkList => Checks::DevicesTogether,
        _ => Checks::AfterWalk,
    });
    reference
}

impl Lockstep {
    /// The reference beside the optimised side with these defects switched on.
    pub fn new(defects: Defects) -> Lockstep {
        let mut world = World::new();
        world.set_defects(defects);
        Lockstep::of(reference_of(defects.variant()), world)
    }
}

impl<R: Replay, O: Subject> Lockstep<R, O> {
    /// Any two sides.
    pub fn of(reference: R, optimized: O) -> Lockstep<R, O> {
        Lockstep {
            reference,
            optimized,
            twin: None,
            expected: Outcome::default(),
            found: Outcome::default(),
            layout: Layout::default(),
            ending: Vec::new(),
            stage: Stage::default(),
            stats: Stats::default(),
            withheld: None,
            alone: None,
        }
    }

    /// Judges without this permission, to see what needs it.
    pub fn withhold(&mut self, permission: Option<Permission>) {
        self.withheld = permission;
    }

    /// What was counted since the last call, and starts counting anew.
    pub fn take_stats(&mut self) -> Stats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.paths = self.optimized.hits();
        self.optimized.clear_hits();
        stats
    }

    /// Runs a program from an empty machine to an empty machine.
    pub fn run(&mut self, program: &Program, options: &Options) -> Verdict {
        self.stage.scheduler = Scheduler::own(program);
        verdict(self.drive(program, options, false, nobody))
    }

    /// As [`Lockstep::run`], under another schedule than the program's own.
    pub fn run_under(
        &mut self,
        program: &Program,
        options: &Options,
        scheduler: &mut Scheduler,
    ) -> Verdict {
        std::mem::swap(&mut self.stage.scheduler, scheduler);
        let result = self.drive(program, options, false, nobody);
        std::mem::swap(&mut self.stage.scheduler, scheduler);
        verdict(result)
    }

    /// The schedule that the phases of the last run had, up to where it ended or panicked: as the
    /// program's own it repeats that run. Of a run under a finite schedule it is the part that was
    /// used.
    pub fn schedule(&mut self, program: &Program) -> Schedule {
        let cpus = program.shape.cpus;
        // It is `None` only beyond what `Slice` can say: CPUs do not have so many tasks.
        let slices = machine::slices_of(self.optimized.decisions(), cpus).unwrap_or_default();
        let slice = |slice: machine::Slice| Slice {
            cpu: slice.cpu % cpus,
            run: slice.run,
            task: slice.cpu / cpus,
        };
        Schedule { slices: slices.into_iter().map(slice).collect(), cycle: Vec::new() }
    }

    /// As [`Lockstep::run`], showing `watch` both sides after every step.
    pub fn follow(
        &mut self,
        program: &Program,
        options: &Options,
        watch: impl FnMut(Moment<'_, R, O>),
    ) -> Verdict {
        self.stage.scheduler = Scheduler::own(program);
        verdict(self.drive(program, options, false, watch))
    }

    /// As [`Lockstep::follow`], and both sides end step by step, as in debug builds.
    pub fn observe(
        &mut self,
        program: &Program,
        options: &Options,
        watch: impl FnMut(Moment<'_, R, O>),
    ) -> Verdict {
        self.stage.scheduler = Scheduler::own(program);
        verdict(self.drive(program, options, true, watch))
    }

    /// Runs the program again under the schedule that it just had, comparing after each step of
    /// its ending, because something is left.
    #[cold]
    pub(crate) fn again(
        &mut self,
        program: &Program,
        options: &Options,
    ) -> Result<(), Box<Divergence>> {
        let repeated = Scheduler::list(&self.schedule(program), program.shape.cpus);
        let scheduler = std::mem::replace(&mut self.stage.scheduler, repeated);
        let stats = std::mem::take(&mut self.stats);
        let result = self.drive(program, options, true, nobody);
        self.stats = stats;
        self.stage.scheduler = scheduler;
        result
    }

    /// Unless it is to be `careful`, programs end on the optimised side alone, and are run again
    /// if something is left.
    fn drive(
        &mut self,
        program: &Program,
        options: &Options,
        careful: bool,
        mut watch: impl FnMut(Moment<'_, R, O>),
    ) -> Result<(), Box<Divergence>> {
        self.layout.assign(program);
        self.reference.reset(&program.shape);
        self.optimized.reset(&program.shape);
        clear(&mut self.expected);
        clear(&mut self.found);
        self.stats.programs += 1;
        if !self.agree() {
            return Err(self.diverge(When::Start));
        }
        self.expect(program, 0, || When::Start)?;
        let (mut trace, mut count) = (0, 0);
        let mut before = self.reference.digest();
        self.stage.begin();
        for (phase, Phase { steps }) in program.phases.iter().enumerate() {
            let concurrent =
                O::CONCURRENT && (phase::concurrent(program, steps) || self.alone == Some(phase));
            if concurrent {
                self.phase(program, phase, count)?;
                trace ^= self.stage.hash(self.optimized.decisions());
            }
            for (at, step) in steps.iter().enumerate() {
                let number = count;
                let when = || When::Step(number, *step);
                if concurrent {
                    // Judged mark by mark: both sides returned this.
                    self.found.clone_from(&self.stage.outs[at]);
                    self.expected.clone_from(&self.found);
                } else {
                    self.step(number, step);
                }
                let after = self.reference.digest();
                self.stats.count(&step.op, &self.expected, before != after);
                before = after;
                trace = mix(trace ^ after);
                watch(Moment {
                    trace: if concurrent { self.stage.trace() } else { &[] },
                    number,
                    step,
                    expected: &self.expected,
                    found: &self.found,
                    reference: &self.reference,
                    optimized: &self.optimized,
                });
                if !concurrent && (!self.agree() || self.misbehaved()) {
                    let found = self.diverge(when());
                    return Err(self.proven(program, number, found));
                }
                if options.paranoid {
                    self.inspect(program, when())?;
                }
                self.expect(program, number + 1, when)?;
                count = number + 1;
            }
        }
        self.stats.fingerprint = self.stats.fingerprint.wrapping_add(trace);
        // One program in a hundred, chosen by all it did.
        let sampled = trace % 100 == 0 || options.paranoid;
        if trace % 100 == 0 {
            self.stats.inspected += 1;
            if !options.paranoid {
                let last = program.steps().last().map(|step| When::Step(count - 1, *step));
                self.inspect(program, last.unwrap_or(When::Start))?;
            }
        }
        if careful || sampled {
            self.end(program, count, options)?;
        } else if !self.ends_empty(program, count) {
            return self.again(program, options);
        }
        // Few, because it runs the program twice more; most of them with a longterm pin.
        let costs = trace % 125 == 0
            && (trace % 500 == 0 || program.steps().any(|step| step.op.is_longterm()));
        if costs || options.paranoid { self.check_costs(program) } else { Ok(()) }
    }

    /// Gives everything back on the optimised side; whether nothing is left. The reference leaves
    /// nothing: that is looked at where programs are inspected, and in every debug build.
    fn ends_empty(&mut self, program: &Program, number: usize) -> bool {
        teardown::steps(program, &mut self.ending);
        for (number, step) in (number..).zip(&self.ending) {
            clear(&mut self.found);
            self.optimized.step(Call { number, step, layout: &self.layout }, &mut self.found);
            if self.optimized.misbehaved() {
                return false;
            }
        }
        self.optimized.teardown();
        !self.optimized.misbehaved() && self.optimized.digest() == 0
    }

    /// Gives everything back and looks whether something is left.
    fn end(
        &mut self,
        program: &Program,
        mut number: usize,
        options: &Options,
    ) -> Result<(), Box<Divergence>> {
        let mut ending = std::mem::take(&mut self.ending);
        teardown::steps(program, &mut ending);
        let mut result = Ok(());
        for step in &ending {
            self.step(number, step);
            number += 1;
            if !self.agree() || self.misbehaved() {
                result = Err(self.diverge(When::Ending(*step)));
            } else if options.paranoid {
                result = self.inspect(program, When::Ending(*step));
            }
            if result.is_err() {
                break;
            }
        }
        self.ending = ending;
        result?;
        self.reference.teardown();
        self.optimized.teardown();
        self.found.clone_from(&self.expected);
        let watched = self.optimized.misbehaved();
        if watched || self.reference.digest() != 0 || self.optimized.digest() != 0 {
            return Err(self.diverge(When::End));
        }
        if options.paranoid {
            self.inspect(program, When::End)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn step(&mut self, number: usize, step: &Step) {
        let call = Call { number, step, layout: &self.layout };
        clear(&mut self.expected);
        clear(&mut self.found);
        self.reference.step(call, &mut self.expected);
        if self.expected.ret == Ret::WouldBlock {
            self.found.ret = Ret::WouldBlock;
        } else {
            self.optimized.step(call, &mut self.found);
        }
    }

    /// Whether both sides returned the same and are in the same state.
    #[inline]
    fn agree(&self) -> bool {
        // By element: most steps read nothing, and a memcmp of nothing is a slow one.
        self.expected.ret == self.found.ret
            && self.expected.data.iter().eq(&self.found.data)
            && self.reference.digest() == self.optimized.digest()
    }

    /// Whether the step just run broke a rule on the optimised side, if it ran there.
    #[inline]
    fn misbehaved(&self) -> bool {
        self.optimized.misbehaved() && self.expected.ret != Ret::WouldBlock
    }

    /// Compares everything there is to compare, and checks the invariants.
    fn inspect(&mut self, program: &Program, when: When) -> Result<(), Box<Divergence>> {
        let (a, b) = (self.reference.snapshot(), self.optimized.snapshot());
        let sums = a.digest() == self.reference.digest() && b.digest() == self.optimized.digest();
        if a != b || !sums {
            return Err(self.diverge(when));
        }
        let violations = broken(&b, program);
        if violations.is_empty() {
            return Ok(());
        }
        let fields = violations.into_iter().map(FieldDiff::from).collect();
        Err(self.diverged(when, fields, a, b))
    }

    #[inline]
    fn expect(
        &mut self,
        program: &Program,
        done: usize,
        when: impl FnOnce() -> When,
    ) -> Result<(), Box<Divergence>> {
        if program.expects.iter().all(|expect| expect.after != done) {
            return Ok(());
        }
        self.check_expects(program, done, when())
    }

    #[cold]
    fn check_expects(
        &mut self,
        program: &Program,
        done: usize,
        when: When,
    ) -> Result<(), Box<Divergence>> {
        let (a, b) = (self.reference.snapshot(), self.optimized.snapshot());
        let sides = [("reference", &a, &self.expected), ("optimised side", &b, &self.found)];
        let failures = expects::failures(program, &self.layout, done, sides);
        if failures.is_empty() {
            return Ok(());
        }
        let fields = failures.into_iter().map(FieldDiff::from).collect();
        Err(self.diverged(when, fields, a, b))
    }

    /// Collects what differs, now that something does.
    #[cold]
    pub(crate) fn diverge(&mut self, when: When) -> Box<Divergence> {
        let (a, b) = (self.reference.snapshot(), self.optimized.snapshot());
        let mut fields = Vec::new();
        let mut field = |what, reference, optimized| {
            fields.push(FieldDiff { what, reference, optimized });
        };
        let ran = self.expected.ret != Ret::WouldBlock && when != When::Start;
        if let Some((class, text)) = self.optimized.conduct().filter(|_| ran) {
            field(What::Conduct(class), Value::Absent, Value::Text(text));
        }
        if self.expected.ret != self.found.ret {
            field(What::Return, Value::Ret(self.expected.ret), Value::Ret(self.found.ret));
        }
        let (mine, theirs) = (&self.expected.data, &self.found.data);
        for at in 0..mine.len().max(theirs.len()) {
            let value = |data: &[u64]| data.get(at).map_or(Value::Absent, |&v| Value::Data(v));
            if mine.get(at) != theirs.get(at) {
                field(What::Data(at), value(mine), value(theirs));
            }
        }
        fields.extend(differences(&a, &b));
        if fields.is_empty() && when == When::End && a != program::Snapshot::default() {
            let left = |side| {
                let text = crate::render::state(side, &self.layout);
                Value::Text(text.trim_end().replace('\n', "; "))
            };
            fields.push(FieldDiff { what: What::Left, reference: left(&a), optimized: left(&b) });
        }
        if fields.is_empty() {
            let sums = |running: u64, written: u64| {
                Value::Text(format!("running {running:016x}, of the snapshot {written:016x}"))
            };
            fields.push(FieldDiff {
                what: What::Digest,
                reference: sums(self.reference.digest(), a.digest()),
                optimized: sums(self.optimized.digest(), b.digest()),
            });
        }
        self.diverged(when, fields, a, b)
    }

    pub(crate) fn diverged(
        &self,
        when: When,
        mut fields: Vec<FieldDiff>,
        reference: program::Snapshot,
        optimized: program::Snapshot,
    ) -> Box<Divergence> {
        fields.sort_by_key(FieldDiff::class);
        let class = fields.first().map_or(Class::Digest, FieldDiff::class);
        let path = self.optimized.path();
        let (trace, holdings, at, remarks) = (Vec::new(), Vec::new(), None, Vec::new());
        Box::new(Divergence {
            class,
            when,
            path,
            fields,
            reference,
            optimized,
            trace,
            holdings,
            at,
            remarks,
        })
    }
}

fn nobody<R, O>(_: Moment<'_, R, O>) {}

fn verdict(result: Result<(), Box<Divergence>>) -> Verdict {
    match result {
        Ok(()) => Verdict::Clean,
        Err(divergence) => Verdict::Diverged(divergence),
    }
}

fn clear(outcome: &mut Outcome) {
    outcome.ret = Ret::default();
    outcome.data.clear();
}
