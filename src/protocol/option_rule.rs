//! What the name and the value of an option may be, whoever sets it.

use super::device::is_same_option;
use super::options::ServerOptions;
use super::text;

/// Most options that are kept.
pub const MOST_OPTIONS: usize = 500;
/// Most bytes of all options together.
pub const MOST_OPTION_BYTES: usize = 64 << 10;
/// Longest name of an option in bytes.
const LONGEST_NAME: usize = 64;
/// Longest value of an option in characters.
const LONGEST_VALUE: usize = 1000;

/// Options that the terminal counts, or that its configuration or the session has.
const OWN: [&str; 20] = [
    "SerialNumber",
    "DeviceName",
    "FWVersion",
    "PushVersion",
    "Language",
    "IPAddress",
    "MaxUserCount",
    "FPVersion",
    "FaceVersion",
    "UserCount",
    "FPCount",
    "FaceCount",
    "TransactionCount",
    "DateTime",
    "FingerFunOn",
    "FaceFunOn",
    "PhotoFunOn",
    "BioPhotoFun",
    "BioDataFun",
    "VisilightFun",
];

/// Why a text cannot be the name of an option.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"~_".contains(&byte);
    match (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(format!("is not 1 to {LONGEST_NAME} letters, digits, ~ and _")),
    }
}

/// Why a text cannot be the value of an option. The names in `TransFlag` are separated by TABs.
pub fn check_value(name: &str, value: &str) -> Result<(), String> {
    let is_list = is_same_option(name, "TransFlag");
    let is_clean =
        if is_list { text::is_clean(&value.replace('\t', " ")) } else { text::is_clean(value) };
    match is_clean && value.chars().count() <= LONGEST_VALUE {
        true => Ok(()),
        false => {
            Err(format!("is longer than {LONGEST_VALUE} characters, or has a control character"))
        }
    }
}

/// Whether an option is not free for a driver to set: the terminal, its configuration or the server has
/// it.
pub fn is_taken(name: &str) -> bool {
    let bare = name.trim_start_matches('~').to_ascii_lowercase();
    OWN.iter().any(|own| is_same_option(own, name))
        || ServerOptions::is_settable(&bare)
        || ServerOptions::is_of_handshake(&bare)
}
