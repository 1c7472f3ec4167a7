//! Exit codes.

use std::io;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Nothing was found.
    Clean,
    /// A divergence, a failed expectation, a file that is not canonical, a floor not reached.
    Finding,
    /// A finding that did not show itself again.
    NotReproducible,
    /// Stopped by Ctrl-C before the end, nothing found so far.
    Interrupted,
    /// Some input was bad or some output could not be written, and that was said; the rest was
    /// done.
    Partial,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Stop {
    /// The arguments make no sense here. (Most wrong usage is noticed before any command runs.)
    Usage(String),
    /// Input that cannot be read or is no program.
    Input(String),
    /// Output that could not be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

/// Says what stopped the command, if anything, and gives the code to exit with.
pub fn code(result: Result<Exit, Stop>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Exit::Clean) => 0,
        Ok(Exit::Finding) => 1,
        Ok(Exit::NotReproducible) => 4,
        Ok(Exit::Interrupted) => 130,
        Ok(Exit::Partial) => 3,
        // Whoever reads our output has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(stop) => {
            stop.say();
            if matches!(stop, Stop::Usage(_)) { 2 } else { 3 }
        }
    })
}

impl Stop {
    /// Says it on standard error.
    pub fn say(&self) {
        match self {
            Stop::Usage(message) | Stop::Input(message) => eprintln!("{}", message.trim_end()),
            Stop::Output(error) => eprintln!("error: cannot write: {error}"),
        }
    }
}
