//! The rules for paths and names from the network.

/// Names with this beginning are punchd's own temporary files.
pub(super) const OURS: &str = ".punchd-";

/// Most bytes of a path.
const LONGEST: usize = 4096;
/// Most nested directories.
const DEEPEST: usize = 32;

/// The names in the path of an archive member; `./a//b/` is `a`, `b`.
pub(super) fn of_member(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.starts_with('/') {
        return Err("has an absolute path");
    }
    check(path, path.split('/').filter(|name| !matches!(*name, "" | ".")))
}

/// The names of an absolute path, which may end with one `/`.
pub(super) fn of_path(path: &str) -> Result<Vec<&str>, &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("is not absolute");
    };
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    check(path, rest.strip_suffix('/').unwrap_or(rest).split('/'))
}

fn check<'a>(
    path: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<&'a str>, &'static str> {
    if path.len() > LONGEST {
        return Err("is longer than 4096 bytes");
    }
    let names: Vec<&str> = names.collect();
    if names.len() > DEEPEST {
        return Err("has more than 32 nested directories");
    }
    names.iter().try_for_each(|name| check_one(name))?;
    Ok(names)
}

fn check_one(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("has an empty name in it"),
        "." | ".." => Err("has . or .. in it"),
        name if name.len() > 255 => Err("has a name of more than 255 bytes in it"),
        name if name.contains(char::is_control) => Err("has a control character in it"),
        name if name.starts_with(OURS) => Err("has a name in it that is punchd's own (.punchd-)"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_break_a_rule_are_refused() {
        let long = format!("/{}", "n".repeat(256));
        let deep = "/d".repeat(33);
        let longest = format!("/{}", "n/".repeat(2_048));
        for (path, message) in [
            ("", "not absolute"),
            ("a", "not absolute"),
            ("//", "empty"),
            ("/a//b", "empty"),
            ("/a//", "empty"),
            ("/.", ". or .."),
            ("/a/./b", ". or .."),
            ("/a/../b", ". or .."),
            ("/a/..", ". or .."),
            ("/a\0b", "control"),
            ("/a\nb", "control"),
            ("/a\u{85}b", "control"),
            ("/a/.punchd-unpack/b", "own"),
            (&long, "255"),
            (&deep, "32"),
            (&longest, "4096"),
        ] {
            let why = of_path(path).unwrap_err();
            assert!(why.contains(message), "{path:?}: {why}");
        }
        assert_eq!(of_path("/").unwrap(), [""; 0]);
        assert_eq!(of_path("/a/b c/").unwrap(), ["a", "b c"]);
        assert_eq!(of_path("/...").unwrap(), ["..."]);
    }

    #[test]
    fn a_member_may_have_empty_names_and_dots_but_not_lead_out() {
        assert_eq!(of_member("./a//b/").unwrap(), ["a", "b"]);
        assert_eq!(of_member("./").unwrap(), [""; 0]);
        for path in ["/etc/passwd", "../x", "a/../b", "a/..", "..", "a\0", ".punchd-put"] {
            assert!(of_member(path).is_err(), "{path:?}");
        }
    }
}
