//! The text of the configuration for a message that quotes a line of it, without secrets.

/// The text of the configuration for a message that quotes a line of it: as long as it is, with
/// stars in place of values that can be a secret.
pub(super) fn masked(text: &str) -> String {
    text.split_inclusive('\n').map(masked_line).collect()
}

/// Of a line `key = value` the key stays; of any other, such as one that is no TOML, nothing does.
fn masked_line(line: &str) -> String {
    if !line.contains(['@', '?']) && !line.contains("://") && !line.contains("_key") {
        return line.to_owned();
    }
    let is_of_key =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '\t');
    let key = line.find(|c| !is_of_key(c)).filter(|at| line[*at..].starts_with('=')).unwrap_or(0);
    let mut masked = line[..key].to_owned();
    for c in line[key..].chars() {
        match c {
            '=' | '"' | '\'' | ' ' | '\r' | '\n' => masked.push(c),
            c => masked.push_str(&"*".repeat(c.len_utf8())),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_can_be_secret_are_masked_and_no_byte_moves() {
        let text =
            "serial = \"S\"\r\nserver = \"http://a:é@h\" # x\n[encryption]\nattlog_key = 'k'\nx";
        let expected =
            "serial = \"S\"\r\nserver = \"*************\" * *\n[encryption]\nattlog_key = '*'\nx";
        assert_eq!(masked(text), expected);
        assert_eq!(masked(text).len(), text.len());
        for line in [
            "server: \"http://me:SECRET@h/?token=SECRET\"",
            "server \"http://me:SECRET@h\"",
            "SECRET@h\"\"\"",
            "server = http://me:SECRET@h",
            "url=\"http://me:SECRET@h\"",
            "\"server\" = \"http://h/?SECRET\"",
            "proxy = { url = \"http://me:SECRET@h:1\" }",
            "url = \"http://me:SECRET",
        ] {
            assert!(!masked(line).contains("SECRET"), "{}", masked(line));
            assert_eq!(masked(line).len(), line.len());
        }
    }
}
