//! Both sides agree on this program.

use lockstep::{Lockstep, Options, Verdict};
use optimized::Defects;
use program::Program;

#[test]
fn fork_x_pin() {
    let program: Program = PROGRAM.parse().expect("a program");
    let verdict = Lockstep::new(Defects::NONE).run(&program, &Options { paranoid: true });
    assert_eq!(verdict, Verdict::Clean);
}

const PROGRAM: &str = "\
machine cpus=2 preempt=none ptes=4 normal=512 movable=256 cma=256 batch=3 thp=always
m0 = mmap len=3 rw private
write m0 len=3
h0 = pin m0
h1 = get m0+1
mm1 = fork
write m0 len=3
peek h0
peek h1
read mm1 m0 len=3
";
