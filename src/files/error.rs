//! Errors about files, with messages for the owner of the terminal.

use std::fmt;
use std::io;
use std::path::Path;

/// An error of this room. Each variant has its own return code.
#[derive(Debug)]
pub enum FileError {
    /// The file or directory does not exist.
    Missing(String),
    /// The server may not use this path.
    Outside {
        /// The path from the server.
        path: String,
        /// Which rule it breaks.
        why: String,
    },
    /// It is not a file, or not a directory where a directory is needed.
    NotAFile {
        /// The path.
        path: String,
        /// What it is instead.
        why: &'static str,
    },
    /// A limit of size or number is exceeded.
    TooLarge(String),
    /// The disk has too little room.
    NoRoom(String),
    /// The archive is damaged, or has a member that is not allowed.
    Archive {
        /// The member that is refused; `None` for the archive as a whole.
        member: Option<String>,
        /// The reason.
        why: String,
    },
    /// The operating system reported an error.
    Io {
        /// The action, as a verb.
        what: &'static str,
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The work was given up because the program stops.
    Stopped,
}

impl FileError {
    pub(super) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.display().to_string(), source.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoRoom(format!("cannot {what} {}: {source}", plain(&path)))
            }
            _ => Self::Io { what, path, source },
        }
    }

    pub(super) fn archive(why: impl Into<String>) -> Self {
        Self::Archive { member: None, why: why.into() }
    }

    pub(super) fn member(name: &str, why: impl Into<String>) -> Self {
        Self::Archive { member: Some(name.to_owned()), why: why.into() }
    }
}

/// Unwraps the error of a reader of this room, such as that of [`super::open_list`].
impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::archive("it is cut short")
            }
            Err(error) => Self::archive(error.to_string()),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{} does not exist", plain(path)),
            Self::Outside { path, why } => {
                write!(f, "the server may not use the path {}: {}", plain(path), plain(why))
            }
            Self::NotAFile { path, why } => write!(f, "{} is {why}", plain(path)),
            Self::TooLarge(why) | Self::NoRoom(why) => f.write_str(why),
            Self::Archive { member: None, why } => write!(f, "the archive is refused: {why}"),
            Self::Archive { member: Some(name), why } => {
                write!(f, "the archive is refused: its member {} {why}", plain(name))
            }
            Self::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", plain(path)),
            Self::Stopped => f.write_str("given up because punchd stops"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A name from the network, short and on one line.
fn plain(text: &str) -> String {
    let mut message = String::new();
    for letter in text.chars() {
        if message.len() > 200 {
            return message + "…";
        }
        match letter.is_control() {
            true => message.extend(letter.escape_default()),
            false => message.push(letter),
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_log_line() {
        let error = FileError::member("a\nERROR all is lost\x1b[2J", "is refused");
        assert!(!error.to_string().contains(char::is_control), "{error}");
        let error = FileError::Outside { path: "x".repeat(9_000), why: "no".into() };
        assert!(error.to_string().len() < 300);
    }

    #[test]
    fn an_error_is_the_same_behind_a_reader() {
        let through = |error: FileError| FileError::from(io::Error::other(error));
        assert!(matches!(through(FileError::Stopped), FileError::Stopped));
        assert!(matches!(through(FileError::TooLarge("x".into())), FileError::TooLarge(_)));
    }
}
