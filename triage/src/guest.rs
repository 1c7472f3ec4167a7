//! `live --guest`: boots the kernel that `live/guest/build.sh` made and shows what it says.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::exit::{Exit, Stop};
use crate::live::LiveArgs;
use crate::write;

/// Says how the program in the guest ended.
const ENDED: &str = "guest exit ";

/// Boots, and passes on what the guest prints.
pub fn run(args: &LiveArgs, time: Option<Duration>) -> Result<Exit, Stop> {
    let script = PathBuf::from("live/guest/boot.sh");
    if !script.is_file() {
        let hint = "run it from the root of the repository, after live/guest/build.sh";
        write::text(&format!("skipped: no {}: {hint}\n", script.display()))?;
        return Ok(Exit::Clean);
    }
    let mut command = Command::new("sh");
    command.arg(&script).args(["--seed", &args.seed.to_string()]);
    command.args(["--steps", &args.steps.to_string()]);
    if let Some(execs) = args.execs {
        command.args(["--execs", &execs.to_string()]);
    }
    if let Some(time) = time {
        command.args(["--for", &time.as_secs().to_string()]);
    }
    command.args(&args.files);
    let mut guest = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut code = None;
    if let Some(lines) = guest.stdout.take() {
        for line in BufReader::new(lines).lines() {
            let line = line?;
            match line.trim().strip_prefix(ENDED) {
                Some(number) => code = number.parse::<i32>().ok(),
                None => write::text(&format!("{}\n", line.trim_end()))?,
            }
        }
    }
    guest.wait()?;
    match code {
        Some(0) => Ok(Exit::Clean),
        Some(1) => Ok(Exit::Finding),
        _ => Err(Stop::Input("error: the guest did not come to an end".to_owned())),
    }
}
