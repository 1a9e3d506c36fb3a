//! Users and groups by their names: a static binary has no other way to ask for them than to read the files.

use std::io;

/// The number of a group, by its number or its name in `/etc/group`.
///
/// # Errors
/// The file cannot be read, or has no such group.
pub fn group_id(group: &str) -> io::Result<u32> {
    number_in("/etc/group", "group", group)
}

/// The number of a user, by its number or its name in `/etc/passwd`.
///
/// # Errors
/// The file cannot be read, or has no such user.
pub(super) fn user_id(user: &str) -> io::Result<u32> {
    number_in("/etc/passwd", "user", user)
}

/// The number behind a name: the third field of a line in both files.
fn number_in(file: &str, kind: &str, name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file)?;
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| io::Error::other(format!("there is no {kind} {name:?} in {file}")))
}

/// The users whom `/etc/group` lists in a group.
pub(super) fn members(group: u32) -> io::Result<Vec<u32>> {
    let groups = std::fs::read_to_string("/etc/group")?;
    let line = groups
        .lines()
        .find(|line| line.split(':').nth(2).and_then(|number| number.parse().ok()) == Some(group));
    let names = line.and_then(|line| line.split(':').nth(3)).unwrap_or_default();
    Ok(names.split(',').filter_map(|name| user_id(name).ok()).collect())
}
