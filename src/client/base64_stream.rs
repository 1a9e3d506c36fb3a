//! Base64 text decoded as it comes, four characters at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Most bytes between the first and the last character of four.
const MOST_HELD: u64 = 1024;

/// Decodes base64 that comes in chunks. Line ends and blanks in it count for nothing.
#[derive(Default)]
pub(super) struct Base64Stream {
    /// Characters that are not yet four.
    text: Vec<u8>,
    /// Bytes of the text since the first of those, line ends among them.
    held: u64,
    /// What the last chunk meant.
    bytes: Vec<u8>,
    /// Padding came: nothing may follow.
    ended: bool,
}

impl Base64Stream {
    /// Takes a chunk. The message says what is wrong with it.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.bytes.clear();
        for byte in chunk {
            if byte.is_ascii_whitespace() {
                self.held += u64::from(!self.text.is_empty());
                if self.held > MOST_HELD {
                    return Err("it has more blanks than text".into());
                }
                continue;
            }
            if self.ended {
                return Err("it goes on after its end".into());
            }
            self.held += 1;
            self.text.push(*byte);
            if self.text.len() == 4 {
                STANDARD
                    .decode_vec(&self.text, &mut self.bytes)
                    .map_err(|error| error.to_string())?;
                self.ended = self.text.ends_with(b"=");
                self.text.clear();
                self.held = 0;
            }
        }
        Ok(())
    }

    /// What the last chunk meant.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of the text have no meaning yet: from before them it can go on.
    pub(super) fn held(&self) -> u64 {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_mean_the_same_and_can_go_on_from_what_is_held() {
        let plain: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let text =
            STANDARD.encode(&plain).as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
        for size in [1, 2, 3, 5, 77, 78, 5000] {
            let (mut from, mut out) = (0, Vec::new());
            // A fresh decoder for each chunk, as after a restart.
            while from < text.len() {
                let mut base64_stream = Base64Stream::default();
                let chunk = &text[from..text.len().min(from + size.max(8))];
                base64_stream.push(chunk).unwrap();
                out.extend_from_slice(base64_stream.bytes());
                from += chunk.len() - base64_stream.held() as usize;
            }
            assert_eq!(out, plain, "in chunks of {size}");
        }
        for wrong in ["QQ==QQ==", "Q*==", "Q==="] {
            assert!(Base64Stream::default().push(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
