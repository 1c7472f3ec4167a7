//! A program does the same whatever its faults try first: every step's outcome, every state.

use lockstep::{Lockstep, Options, Verdict};
use optimized::{Defects, Path};
use program::digest::mix;
use program::{Faults, Program, generate};

const FRONT_ENDS: [Faults; 4] =
    [Faults::Classic, Faults::VmaLock, Faults::Speculative, Faults::SpeculativeBounded];

/// What the program does, as a number.
fn run(lockstep: &mut Lockstep, program: &Program) -> u64 {
    let mut sum = 0;
    let verdict = lockstep.observe(program, &Options { paranoid: false }, |moment| {
        let ret = format!("{:?}", moment.found.ret);
        sum = ret.bytes().fold(sum, |sum, byte| mix(sum ^ u64::from(byte)));
        sum = moment.found.data.iter().fold(sum, |sum, &value| mix(sum ^ value));
        sum = mix(sum ^ program::Model::digest(moment.optimized));
    });
    assert_eq!(verdict, Verdict::Clean, "{program}");
    sum
}

#[test]
fn programs_end_alike_on_every_front_end() {
    let mut lockstep = Lockstep::new(Defects::NONE);
    let (mut program, mut bytes) = (Program::default(), Vec::new());
    for index in 0..6000 {
        generate(5, index, &mut bytes);
        program.decode_into(&bytes);
        let sums = FRONT_ENDS.map(|faults| {
            program.shape.faults = faults;
            run(&mut lockstep, &program)
        });
        assert!(sums.iter().all(|&sum| sum == sums[0]), "program {index}: {sums:x?}\n{program}");
    }
    let stats = lockstep.take_stats();
    for path in [
        Path::Speculative,
        Path::SpfNoAnon,
        Path::SpfNotSup,
        Path::SpfAccess,
        Path::SpfNoTable,
        Path::VmaLockFault,
    ] {
        assert!(stats.paths[path as usize] > 20, "{}", path.name());
    }
}
