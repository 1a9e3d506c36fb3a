//! Base64 text decoded as it comes, four characters at a time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Most bytes of text from the first to the last character of four, with line ends and blanks.
const MOST_UNDECODED: u64 = 1024;

/// Decodes base64 that comes in chunks. Line ends and blanks in it are skipped.
#[derive(Default)]
pub(super) struct Base64Stream {
    /// Up to three characters that wait for the rest of their four.
    text: Vec<u8>,
    /// Bytes from the first of those on, with line ends and blanks.
    undecoded: u64,
    /// The last chunk, decoded.
    bytes: Vec<u8>,
    /// Padding came: nothing may follow.
    ended: bool,
}

impl Base64Stream {
    /// Decodes a chunk.
    ///
    /// # Errors
    /// What is wrong with it, as text.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.bytes.clear();
        for byte in chunk {
            if byte.is_ascii_whitespace() {
                self.undecoded += u64::from(!self.text.is_empty());
                if self.undecoded > MOST_UNDECODED {
                    return Err("it has more blanks than text".into());
                }
                continue;
            }
            if self.ended {
                return Err("it goes on after its end".into());
            }
            self.undecoded += 1;
            self.text.push(*byte);
            if self.text.len() == 4 {
                STANDARD
                    .decode_vec(&self.text, &mut self.bytes)
                    .map_err(|error| error.to_string())?;
                self.ended = self.text.ends_with(b"=");
                self.text.clear();
                self.undecoded = 0;
            }
        }
        Ok(())
    }

    /// The last chunk, decoded.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of the text are not decoded yet. A new decoder can continue before them.
    pub(super) fn undecoded(&self) -> u64 {
        self.undecoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_any_size_decode_to_the_same_and_can_continue_before_what_is_undecoded() {
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
                from += chunk.len() - base64_stream.undecoded() as usize;
            }
            assert_eq!(out, plain, "in chunks of {size}");
        }
        for wrong in ["QQ==QQ==", "Q*==", "Q==="] {
            assert!(Base64Stream::default().push(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
