//! Whether a command that came before is a repeat, or asked for anew.
//!
//! Most servers send a command again until it is acknowledged; some use one id and one text for ever, a
//! button for example; some acknowledge and send again by a timer all the same. What is decided here, in
//! this order, for the same id and text:
//!
//! | what is known | it is |
//! |---|---|
//! | it was cut off before it had a result | carried on (the command says if it cannot be) |
//! | it goes on, or the server has not taken its result | a repeat |
//! | the server took a refusal that may not hold any more | new |
//! | REBOOT was accepted within the hour | a repeat |
//! | the server began its ids anew since | new |
//! | the ids only rise | a repeat within twelve hours of the last time it came, then new |
//! | it opens a door, runs a program, clears or the like | new once an answer of the kind came without any command |
//! | anything else | new once an answer of the kind came without it |

use crate::protocol::codes::ReturnCode;
use crate::store::{AnswerKind, Askings, CommandState, KnownCommand};

/// How long a command of a server whose ids rise is a repeat.
const RISING: i64 = 12 * 3600;
/// How often a REBOOT of the same id and text is done at most.
const REBOOT_EVERY: i64 = 3600;

/// What a command that came before is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It was cut off, and its row goes on.
    CutOff {
        /// How often it was begun.
        attempts: u32,
    },
    /// Its stored result is the answer.
    Repeat,
    /// It is done again, as a command of its own.
    Anew,
}

/// Decides. `kind`: of the answer in which it came; `now`: by the log's time.
pub(super) fn asked(
    text: &[u8],
    known: &KnownCommand,
    askings: &Askings,
    kind: AnswerKind,
    now: i64,
) -> Asked {
    let (code, is_partly_done) = match known.state {
        CommandState::CutOff { attempts } => return Asked::CutOff { attempts },
        CommandState::GoesOn | CommandState::Due => return Asked::Repeat,
        CommandState::Taken { code, is_partly_done } => (code, is_partly_done),
    };
    let (word, kind) = (first_word(text), kind as usize);
    let is_once = is_once(&word);
    let is_anew = if may_pass(code, is_once) && !is_partly_done {
        true
    } else if word == "REBOOT" && now - known.begun_at < REBOOT_EVERY {
        false
    } else if known.list <= askings.forgotten {
        true
    } else if askings.ids.only_rise() {
        now - known.seen_at >= RISING
    } else if is_once {
        known.list <= askings.without_any[kind]
    } else {
        known.list <= askings.without_it[kind]
    };
    if is_anew { Asked::Anew } else { Asked::Repeat }
}

/// Whether a refusal may not hold any more, so that the command is tried anew. It changed nothing. What
/// is wrong with the command itself stays wrong.
fn may_pass(code: ReturnCode, is_once: bool) -> bool {
    match code {
        ReturnCode::UNKNOWN_PIN
        | ReturnCode::CAPACITY
        | ReturnCode::UNSUPPORTED
        | ReturnCode::MISMATCH
        | ReturnCode::BUSY => true,
        // A program or a driver may have done a part.
        _ if is_once => false,
        ReturnCode::PHOTO_SIZE
        | ReturnCode::STORAGE
        | ReturnCode::TIMED_OUT
        | ReturnCode::NOT_FETCHED => true,
        _ => false,
    }
}

/// Commands that must not happen once too often.
fn is_once(word: &str) -> bool {
    matches!(word, "SHELL" | "REBOOT" | "UPGRADE" | "CLEAR" | "CONTROL")
        || word.starts_with("AC_")
        || word.starts_with("ENROLL_")
}

fn first_word(text: &[u8]) -> String {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end.min(32)]).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use AnswerKind::{Handshake, Poll, Upload};
    use Asked::{Anew, CutOff, Repeat};
    use CommandState::{Due, GoesOn, Taken};

    const HOUR: i64 = 3600;

    /// A command that came in list 7, now, and what is known of the server.
    struct Case {
        known: KnownCommand,
        askings: Askings,
    }

    fn case(state: CommandState) -> Case {
        let known = KnownCommand { row: 1, state, list: 7, begun_at: 0, seen_at: 0 };
        Case { known, askings: Askings { list: 9, ..Askings::default() } }
    }

    fn taken(code: i64) -> Case {
        case(Taken { code: ReturnCode(code), is_partly_done: false })
    }

    impl Case {
        fn rising(mut self) -> Self {
            (self.askings.ids.risen, self.askings.ids.highest) = (5, Some(9));
            self
        }

        fn without_it(mut self, kind: AnswerKind, list: i64) -> Self {
            self.askings.without_it[kind as usize] = list;
            self
        }

        fn without_any(mut self, kind: AnswerKind, list: i64) -> Self {
            self.askings.without_any[kind as usize] = list;
            self.without_it(kind, list)
        }

        fn forgotten(mut self, list: i64) -> Self {
            self.askings.forgotten = list;
            self
        }

        fn partly(mut self, code: i64) -> Self {
            self.known.state = Taken { code: ReturnCode(code), is_partly_done: true };
            self
        }
    }

    #[test]
    fn a_repeat_is_told_from_a_new_asking() {
        let data = "DATA UPDATE USERINFO PIN=1";
        let cases: Vec<(&str, &str, Case, AnswerKind, i64, Asked)> = vec![
            // Until the server took the result.
            (
                "cut off",
                data,
                case(CommandState::CutOff { attempts: 2 }),
                Poll,
                0,
                CutOff { attempts: 2 },
            ),
            ("goes on", data, case(GoesOn).without_any(Poll, 9), Poll, 99 * HOUR, Repeat),
            ("due", data, case(Due).without_any(Poll, 9), Poll, 99 * HOUR, Repeat),
            ("due, ids begun anew", data, case(Due).forgotten(9), Poll, 0, Repeat),
            // The ids rise.
            ("rising", data, taken(0).rising().without_any(Poll, 9), Poll, 12 * HOUR - 1, Repeat),
            ("rising, late", data, taken(0).rising(), Poll, 12 * HOUR, Anew),
            (
                "rising, a door",
                "AC_UNLOCK",
                taken(0).rising().without_any(Poll, 9),
                Poll,
                HOUR,
                Repeat,
            ),
            ("ids begun anew", data, taken(0).rising().forgotten(7), Poll, 0, Anew),
            ("ids begun anew before", data, taken(0).rising().forgotten(6), Poll, 0, Repeat),
            // They do not.
            ("never without it", data, taken(0), Poll, 99 * HOUR, Repeat),
            ("without it", data, taken(0).without_it(Poll, 7), Poll, 0, Anew),
            ("without it before it came", data, taken(0).without_it(Poll, 6), Poll, 0, Repeat),
            (
                "without it in another kind",
                data,
                taken(0).without_it(Poll, 7),
                Handshake,
                0,
                Repeat,
            ),
            ("a handshake without it", data, taken(0).without_it(Handshake, 8), Handshake, 0, Anew),
            ("an upload without it", data, taken(0).without_any(Upload, 8), Upload, 0, Anew),
            ("a door beside others", "AC_UNLOCK", taken(0).without_it(Poll, 8), Poll, 0, Repeat),
            ("a door, nothing asked", "ac_unlock", taken(0).without_any(Poll, 8), Poll, 0, Anew),
            ("SHELL", "SHELL id", taken(0).without_it(Poll, 8), Poll, 0, Repeat),
            ("ENROLL", "ENROLL_FP PIN=1", taken(0).without_it(Poll, 8), Poll, 0, Repeat),
            ("CLEAR", "CLEAR DATA", taken(0).without_it(Poll, 8), Poll, 0, Repeat),
            ("UPGRADE", "UPGRADE x", taken(0).without_it(Poll, 8), Poll, 0, Repeat),
            // REBOOT, once an hour.
            ("REBOOT", "REBOOT", taken(0).without_any(Poll, 8), Poll, HOUR - 1, Repeat),
            ("REBOOT later", "REBOOT", taken(0).without_any(Poll, 8), Poll, HOUR, Anew),
            ("REBOOT, ids begun anew", "REBOOT", taken(0).forgotten(8), Poll, HOUR - 1, Repeat),
            ("REBOOT refused", "REBOOT", taken(-1002), Poll, 0, Anew),
            // Refusals.
            ("unknown PIN", data, taken(-10).rising(), Poll, 0, Anew),
            ("no room", data, taken(-1001), Poll, 0, Anew),
            ("unsupported", "AC_UNLOCK", taken(-1002), Poll, 0, Anew),
            ("busy", data, taken(-1005), Poll, 0, Anew),
            ("not fetched", data, taken(-1008), Poll, 0, Anew),
            ("wrong in itself", data, taken(-1), Poll, 0, Repeat),
            ("done in part", data, taken(0).partly(-10), Poll, 0, Repeat),
            ("a program that was cut off", "SHELL id", taken(-1003), Poll, 0, Repeat),
            ("a query that was given up", "DATA QUERY USERINFO", taken(-1003), Poll, 0, Anew),
        ];
        for (what, text, case, kind, now, expected) in cases {
            let found = asked(text.as_bytes(), &case.known, &case.askings, kind, now);
            assert_eq!(found, expected, "{what}");
        }
    }
}
