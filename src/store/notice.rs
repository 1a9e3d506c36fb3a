//! The notice: a file beside the store that says what was lost, a line for each loss, until a person
//! removes it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::{beside, replace};

/// Most bytes of the file. Beyond them the oldest losses are left out.
const LONGEST: usize = 4000;

/// Adds a loss to the notice of the store at `path`. A loss that it has already is not added again.
pub(super) fn add(path: &Path, loss: &str) -> io::Result<()> {
    let earlier = read(path).unwrap_or_default();
    let mut losses: Vec<&str> = earlier.lines().filter(|line| *line != loss).collect();
    losses.push(loss);
    let bytes = |losses: &[&str]| losses.iter().map(|line| line.len() + 1).sum::<usize>();
    while losses.len() > 1 && bytes(&losses) > LONGEST {
        losses.remove(0);
    }
    replace(&file(path), &format!("{}\n", losses.join("\n")))
}

/// The losses that a person has not settled yet, a line for each.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(file(path)).ok()?.take(LONGEST as u64).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Its name.
pub(super) fn file(path: &Path) -> PathBuf {
    beside(path, ".notice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_has_each_loss_once_and_is_bounded() {
        let store = std::env::temp_dir().join(format!("punchd-notice-{}.db", std::process::id()));
        for loss in ["first", "second", "first"] {
            add(&store, loss).unwrap();
        }
        assert_eq!(read(&store).as_deref(), Some("second\nfirst"));
        for nth in 0..100 {
            add(&store, &format!("{nth}{}", "x".repeat(200))).unwrap();
        }
        let text = read(&store).unwrap();
        std::fs::remove_file(file(&store)).unwrap();
        assert!(text.len() <= LONGEST && text.lines().count() > 10, "{text}");
        assert!(text.lines().last().unwrap().starts_with("99x"), "{text}");
    }
}
