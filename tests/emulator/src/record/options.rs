//! The terminal's configuration (chapter 9): `key=value` joined by commas in one line. A value may
//! hold a comma and a blank of its own.

use crate::deviation::{Flaw, Kind};

/// Reads the line into pairs. A piece without `=` belongs to the value before it.
pub fn parse(line: &str) -> Result<Vec<(String, String)>, Flaw> {
    let wrong = |text: String| Err(Flaw::new(Kind::OptionsForm, text));
    if line.contains(['\r', '\n', '\t']) {
        return wrong("the options are not one line joined by commas".into());
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in line.split(',') {
        match (piece.split_once('='), pairs.last_mut()) {
            (Some((key, value)), _) if is_key(key) => {
                pairs.push((key.to_owned(), value.to_owned()))
            }
            (_, Some((_, value))) => *value = format!("{value},{piece}"),
            (_, None) => return wrong(format!("{piece:?} is not of the form key=value")),
        }
    }
    match pairs
        .iter()
        .enumerate()
        .find(|(n, (key, _))| pairs[..*n].iter().any(|(other, _)| other == key))
    {
        Some((_, (key, _))) => wrong(format!("the key {key} stands twice")),
        None => Ok(pairs),
    }
}

fn is_key(text: &str) -> bool {
    let name = text.strip_prefix('~').unwrap_or(text);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_example_and_a_value_with_a_comma() {
        assert_eq!(parse("FingerFunOn=1,FaceFunOn=1").unwrap().len(), 2);
        let pairs = parse("~OEMVendor=ZKTECO CO., LTD.,~Platform=ZAM70_TFT,MAC=").unwrap();
        assert_eq!(pairs[0].1, "ZKTECO CO., LTD.");
        assert_eq!(pairs[2], ("MAC".into(), String::new()));
    }

    #[test]
    fn what_is_wrong() {
        for bad in ["", "FingerFunOn", "=1", "a=1\nb=2", "a=1\tb=2", "a=1,a=2"] {
            assert_eq!(parse(bad).map_err(|flaw| flaw.kind), Err(Kind::OptionsForm), "{bad:?}");
        }
    }
}
