//! Fields whose values nobody reads in a log: passwords, templates, pictures, contents of files.

/// Their keys, in lower case.
const PRIVATE_KEYS: [&str; 14] = [
    "passwd",
    "password",
    "pwd",
    "tmp",
    "template",
    "fptemplate1",
    "fptemplate2",
    "content",
    "photo",
    "picture",
    "image",
    "commkey",
    "pushcommkey",
    "newkey",
];

/// What of a field `key=value` can be shown, its `=` included, if its value is private.
pub fn public_part(field: &str) -> Option<&str> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric();
    field.match_indices('=').find_map(|(at, _)| {
        let before = field[..at].trim_end();
        let key = &before[before.trim_end_matches(is_of_key).len()..];
        PRIVATE_KEYS.contains(&&*key.to_ascii_lowercase()).then(|| &field[..=at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_private_keys_are_cut_off() {
        for (field, public) in [
            ("Passwd=1234", Some("Passwd=")),
            ("DATA UPDATE FINGERTMP PIN=1 TMP = abc=", Some("DATA UPDATE FINGERTMP PIN=1 TMP =")),
            ("SET OPTION CommKey=9", Some("SET OPTION CommKey=")),
            ("Name=Tmp", None),
            ("PIN=1", None),
            ("", None),
        ] {
            assert_eq!(public_part(field), public, "{field}");
        }
    }
}
