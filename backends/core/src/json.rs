//! The little JSON that the rules need: how deep a value nests, and how a string is written.

/// How deep the arrays and objects of a well-formed JSON text nest. Stops at `depth_max + 1`.
#[must_use]
pub fn depth(json: &[u8], depth_max: usize) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
                if deepest > depth_max {
                    break;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Reads on to the closing quote.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

/// Appends the text as a JSON string.
pub fn push_string(json: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        // Writing a string into a Vec can't fail.
        serde_json::to_writer(json, text).unwrap_or_default();
    }
}

/// Appends the number.
pub fn push_number(json: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing into a Vec can't fail.
    write!(json, "{number}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}]}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\"[[",{}]"#, 2),
            (r#"["\\",[]]"#, 2),
        ] {
            assert_eq!(depth(json.as_bytes(), 9), expected, "{json}");
        }
        assert_eq!(depth("[".repeat(100_000).as_bytes(), 128), 129);
    }

    #[test]
    fn strings_are_escaped() {
        for text in ["plain", "é", "a\"b", "back\\slash", "new\nline", "\u{1}"] {
            let mut json = Vec::new();
            push_string(&mut json, text);
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
