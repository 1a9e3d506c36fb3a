//! The help for one command.

use std::fmt;

/// The options of every command.
pub const COMMON: &str = "\
Options of every command:
  -c, --config FILE   the configuration (default /etc/punchd.toml)
  -v, --verbose       write more to the log: each request and its answer, cut,
                      without passwords, templates and pictures
  -h, --help          show this help
";

/// What `punchd help COMMAND` shows, in lines of at most 80 columns.
pub struct Page {
    /// The command's name.
    pub name: &'static str,
    /// What follows the name on the command line.
    pub arguments: &'static str,
    /// What the command does, for the list of all commands.
    pub summary: &'static str,
    /// Everything else about the command: its options, its exit codes, an example.
    pub details: &'static str,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = format!("Usage: punchd {} {}", self.name, self.arguments);
        let (usage, details) = (usage.trim_end(), self.details);
        write!(f, "{usage}\n\n{details}\n{COMMON}")
    }
}
