//! Programs as numbers.

use std::hash::{Hash, Hasher};

use program::Program;
use program::digest::mix;

/// A 64-bit hash of a program that is the same in every process and on every machine.
pub fn program_hash(program: &Program) -> u64 {
    let mut hasher = Stable::default();
    let shape = &program.shape;
    hasher.write_u8(shape.cpus);
    hasher.write_u8(shape.preempt as u8);
    hasher.write_u16(shape.ptes);
    shape.pages.iter().for_each(|&pages| hasher.write_u32(pages));
    hasher.write_u8(shape.batch);
    hasher.write_u8(shape.thp as u8);
    hasher.write_u8(shape.faults as u8);
    for phase in &program.phases {
        hasher.write_usize(phase.steps.len());
        phase.steps.iter().for_each(|step| step.hash(&mut hasher));
    }
    for slices in [&program.schedule.slices, &program.schedule.cycle] {
        hasher.write_usize(slices.len());
        slices.iter().for_each(|slice| hasher.write(&[slice.cpu, slice.run, slice.task]));
    }
    hasher.finish()
}

/// Hashes numbers by value, whatever their width and the machine's byte order.
pub(crate) struct Stable(u64);

impl Default for Stable {
    fn default() -> Stable {
        Stable(0x6d6d_6c6f_636b_7374)
    }
}

impl Hasher for Stable {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        // A multiplication a number: phases have hundreds of them.
        let product = u128::from(self.0 ^ value) * 0x9e37_79b9_7f4a_7c15;
        self.0 = self.0.rotate_left(23) ^ product as u64 ^ (product >> 64) as u64;
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}
