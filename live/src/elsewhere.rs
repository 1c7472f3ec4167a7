//! Where there is no Linux on x86-64 to ask.

use program::{Call, Layout, Shape, Thp};
use reference::Kernel;

use crate::witness::{Abilities, Broken, Observation, Reply, Vmas, Witness};

/// A witness that cannot be had.
#[derive(Debug)]
pub enum Host {}

impl Host {
    /// Why not.
    pub fn new() -> Result<Host, String> {
        Err("the witness is Linux on x86-64".to_owned())
    }
}

impl Witness for Host {
    fn kernel(&self) -> Kernel {
        match *self {}
    }

    fn abilities(&self) -> Abilities {
        match *self {}
    }

    fn thp(&self) -> Thp {
        match *self {}
    }

    fn reset(&mut self, _: &Shape, _: &Layout) -> Result<(), Broken> {
        match *self {}
    }

    fn step(&mut self, _: Call<'_>) -> Result<Reply, Broken> {
        match *self {}
    }

    fn disturbances(&self) -> u64 {
        match *self {}
    }

    fn look(&mut self, _: Vmas) -> Result<Observation, Broken> {
        match *self {}
    }
}
