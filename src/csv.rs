//! Punches as CSV, for a site that must move data by hand (`punchd export`, `punchd import`).
//!
//! What is written needs no quotes: no field can hold a comma, a quote or a line end. What is read
//! may have been saved by a spreadsheet: quoted fields and CRLF (RFC 4180), a byte order mark.

use crate::protocol::foreign::BYTE_ORDER_MARK;
use crate::protocol::record::{
    HIGHEST_VERIFY, Pin, Punch, Screening, Status, Temperature, WorkCode,
};
use crate::protocol::time::LocalTime;

/// The first line.
pub const HEADER: &str = "pin,time,status,verify,workcode,mask,temperature";
/// The first line of a file without mask and temperature; earlier versions wrote it.
const SHORT_HEADER: &str = "pin,time,status,verify,workcode";

/// A punch as a line, without its end.
pub fn row(punch: &Punch) -> String {
    let Punch { pin, time, status, verify, workcode, screening } = punch;
    let mask = screening.mask.map(|mask| u8::from(mask).to_string()).unwrap_or_default();
    let temperature = screening.temperature.map(|it| it.to_string()).unwrap_or_default();
    format!("{pin},{time},{status},{verify},{},{mask},{temperature}", workcode.as_str())
}

/// Reads a file, and checks all of it: each punch with the number of the line on which it starts.
/// An error message names the line and the field.
pub fn read(text: &str) -> Result<Vec<(usize, Punch)>, String> {
    let wrong = |line: usize, why: &str| format!("line {line}: {why}; nothing was recorded");
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (names, mut text) = split_row(text).map_err(|why| wrong(1, why))?;
    let names = names.join(",");
    let columns = names.split(',').count();
    if names != HEADER && names != SHORT_HEADER {
        return Err(format!("the first line is not {HEADER}; nothing was recorded"));
    }
    let mut line = 2;
    let mut punches = Vec::new();
    while !text.is_empty() {
        let (fields, rest) = split_row(text).map_err(|why| wrong(line, why))?;
        if fields != [""] {
            punches.push((line, punch(&fields, columns).map_err(|why| wrong(line, &why))?));
        }
        line += text[..text.len() - rest.len()].matches('\n').count();
        text = rest;
    }
    Ok(punches)
}

/// The fields of the first row, and the text after it. Spaces at the end of a line are no part of
/// its last field.
fn split_row(mut text: &str) -> Result<(Vec<String>, &str), &'static str> {
    let mut fields = Vec::new();
    loop {
        let (mut field, rest) = match text.strip_prefix('"') {
            Some(quoted) => split_quoted(quoted)?,
            None => {
                let (field, rest) = text.split_at(text.find([',', '\n']).unwrap_or(text.len()));
                (field.to_owned(), rest)
            }
        };
        if let Some(next) = rest.strip_prefix(',') {
            fields.push(field);
            text = next;
            continue;
        }
        field.truncate(field.trim_end().len());
        fields.push(field);
        let rest = rest.trim_start_matches([' ', '\t', '\r']);
        return match rest.strip_prefix('\n') {
            Some(next) => Ok((fields, next)),
            None if rest.is_empty() => Ok((fields, rest)),
            None => Err("after the closing quote of a field there is no comma"),
        };
    }
}

/// The field before the closing quote, in which a quote is doubled, and the text after it.
fn split_quoted(mut text: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    loop {
        let (part, rest) = text.split_once('"').ok_or("a quoted field has no closing quote")?;
        field += part;
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                text = more;
            }
            None => return Ok((field, rest)),
        }
    }
}

fn punch(fields: &[String], columns: usize) -> Result<Punch, String> {
    let (true, [pin, time, status, verify, workcode, rest @ ..]) =
        (fields.len() == columns, fields)
    else {
        return Err(format!("it has {} fields instead of {columns}", fields.len()));
    };
    let number = |name: &str, text: &str, highest: Status| {
        let number = text.parse().ok().filter(|number| *number <= highest);
        number.ok_or_else(|| format!("{name} is not a whole number from 0 to {highest}"))
    };
    Ok(Punch {
        pin: Pin::new(pin).map_err(|invalid| invalid.to_string())?,
        time: LocalTime::parse(time).ok_or("time is not of the form YYYY-MM-DD hh:mm:ss")?,
        status: number("status", status, Status::MAX)?,
        verify: number("verify", verify, HIGHEST_VERIFY)?,
        workcode: WorkCode::new(workcode.trim_end()).map_err(|invalid| invalid.to_string())?,
        screening: match rest {
            [mask, temperature] => screening(mask, temperature)?,
            _ => Screening::default(),
        },
    })
}

/// Mask and temperature; an empty field is one that is not known.
fn screening(mask: &str, temperature: &str) -> Result<Screening, String> {
    let mask = match mask {
        "" => None,
        "0" => Some(false),
        "1" => Some(true),
        _ => return Err("mask is neither 0 nor 1".into()),
    };
    let temperature = match temperature.trim_end() {
        "" => None,
        text => {
            let degrees = text.parse().map_err(|_| "temperature is not a number")?;
            Some(Temperature::new("temperature", degrees).map_err(|invalid| invalid.to_string())?)
        }
    };
    Ok(Screening { mask, temperature })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_spreadsheets_save_are_taken() {
        let plain = format!(
            "{HEADER}\n7,2026-11-02 08:00:00,0,1,0,,\n8,2026-11-02 08:00:01,1,15,A,1,36.6\n"
        );
        let punches = read(&plain).unwrap();
        assert_eq!(punches.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        let written: Vec<String> = punches.iter().map(|(_, punch)| row(punch)).collect();
        assert_eq!(format!("{HEADER}\n{}\n", written.join("\n")), plain);
        let quoted = plain
            .lines()
            .map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\"")))
            .collect::<String>();
        for text in [
            format!("\u{feff}{plain}"),
            plain.replace('\n', "\r\n"),
            plain.trim_end().to_owned(),
            plain.replace('\n', "  \r\n\r\n").replacen("  \r\n\r\n", "\n", 1),
            plain.replace("2026-11-02 08:00:01", "\"2026-11-02 08:00:01\""),
            format!("\u{feff}{quoted}"),
            quoted.trim_end().to_owned(),
        ] {
            let taken: Vec<Punch> = read(&text).unwrap().into_iter().map(|(_, row)| row).collect();
            assert!(taken.iter().eq(punches.iter().map(|(_, row)| row)), "{text:?}");
        }
    }

    #[test]
    fn files_without_mask_and_temperature_are_taken() {
        let text = "pin,time,status,verify,workcode\n7,2026-11-02 08:00:00,0,1,A  \n";
        let punches = read(text).unwrap();
        assert_eq!(row(&punches[0].1), "7,2026-11-02 08:00:00,0,1,A,,");
        let with = |end: &str| format!("{HEADER}\n1,2026-11-02 08:00:00,0,1,0{end}\n");
        for (text, message) in [
            (with(""), "line 2: it has 5 fields instead of 7"),
            (with(",,,"), "line 2: it has 8 fields instead of 7"),
            (with(",2,"), "line 2: mask"),
            (with(",,97.7"), "line 2: temperature"),
            (with(",,warm"), "line 2: temperature"),
            (with(",,nan"), "line 2: temperature"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn wrong_files_are_refused_with_line_and_field() {
        let with = |line: &str| format!("{SHORT_HEADER}\n1,2026-11-02 08:00:00,0,1,0\n{line}\n");
        assert_eq!(read(&with("")).unwrap().len(), 1);
        for (text, message) in [
            (String::new(), "first line"),
            ("pin;time".into(), "first line"),
            ("\n\n".into(), "first line"),
            (with("1,2026-11-02 08:00:00,0,1"), "line 3: it has 4 fields"),
            (with("a b,2026-11-02 08:00:00,0,1,0"), "line 3: pin"),
            (with("1,2026-02-30 08:00:00,0,1,0"), "line 3: time"),
            (with("1,2026-11-02 08:00:00,256,1,0"), "line 3: status"),
            (with("1,2026-11-02 08:00:00,0,29,0"), "line 3: verify"),
            (with("1,2026-11-02 08:00:00,0,1,a b"), "line 3: workcode"),
            (with("\"a\"\"b\",2026-11-02 08:00:00,0,1,0"), "line 3: pin"),
            (with("a\"b,2026-11-02 08:00:00,0,1,0"), "line 3: pin"),
            (with("\"1,2\",2026-11-02 08:00:00,0,1,0"), "line 3: pin"),
            (with("\"1\"2,2026-11-02 08:00:00,0,1,0"), "line 3: after the closing quote"),
            (with("\"1,2026-11-02 08:00:00,0,1,0"), "line 3: a quoted field has no closing quote"),
            // A line is counted as an editor counts it, also after a line end inside quotes.
            (with("\r\n\n\"1\n2\",2026-11-02 08:00:00,0,1,0"), "line 5: pin"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "[\"\r\n,a0 \u{feff}]{0,40}") {
            let _ = read(&text);
            let _ = read(&format!("{HEADER}\n{text}"));
        }
    }
}
