//! What the bytes of a photo are. A terminal may send anything; a browser is given only pictures.

/// The media type of a picture by its first bytes: JPEG, PNG, GIF or BMP.
pub(crate) fn media_type(data: &[u8]) -> Option<&'static str> {
    let starts: [(&[u8], &str); 5] = [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"BM", "image/bmp"),
    ];
    starts.iter().find(|(start, _)| data.starts_with(start)).map(|(_, media_type)| *media_type)
}
