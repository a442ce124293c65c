//! Reads answers whose bytes are known but for some numbers. What a hot scenario gets back looks the same
//! every time, and reading it so costs a tenth of reading it as JSON. An answer that does not look so is no
//! fault yet: the caller reads it as JSON then.

/// What is left to read. Each method is `None` where the bytes are others.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    /// Of all of it.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Exactly these bytes.
    #[must_use]
    pub fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(bytes)?;
        Some(())
    }

    /// A number, written as JSON writes it.
    #[must_use]
    pub fn number(&mut self) -> Option<u64> {
        let mut number: u64 = 0;
        let mut digits = 0;
        for byte in self.0.iter().take_while(|byte| byte.is_ascii_digit()) {
            number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            digits += 1;
        }
        let leading_zero = digits > 1 && self.0.first() == Some(&b'0');
        self.0 = &self.0[digits..];
        (digits > 0 && !leading_zero).then_some(number)
    }

    /// Nothing more.
    #[must_use]
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for text in [
            "0",
            "7",
            "10",
            "18446744073709551615",
            "18446744073709551616",
            "01",
            "00",
            "",
            "-1",
            "1.5",
            "1e3",
        ] {
            let mut scan = Scan::new(text.as_bytes());
            let scanned = scan.number().filter(|_| scan.end().is_some());
            assert_eq!(scanned, serde_json::from_str(text).ok(), "{text}");
        }
    }
}
