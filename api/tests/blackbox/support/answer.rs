//! An answer, and strict looks at it.

use serde_json::Value;

/// One HTTP answer, as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is given twice: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Requires success, and gives the body.
    #[track_caller]
    pub fn ok(&self) -> Value {
        self.ok_text();
        self.json()
    }

    /// Requires success, and gives the body's text: values may be such as a tree of values can't hold.
    #[track_caller]
    pub fn ok_text(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.assert_has_request_id();
        self.text().to_owned()
    }

    /// Requires an error with this status and code, a message, exactly these further fields, and the
    /// headers that errors have; gives the message.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, fields: Value) -> String {
        assert_eq!(self.status, status, "expected {code}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("retry-after").is_some(), status == 503 || status == 429, "{self:?}");
        self.assert_has_request_id();
        let mut body = self.json();
        let object = body.as_object_mut().unwrap();
        assert_eq!(object.remove("Code"), Some(code.into()), "{}", self.text());
        let message = object.remove("Message").and_then(|message| message.as_str().map(str::to_owned));
        assert_eq!(body, fields, "the further fields of {}", self.text());
        message.filter(|message| !message.trim().is_empty()).expect("an error has a message")
    }

    /// Requires a refusal as invalid whose message has this word.
    #[track_caller]
    pub fn invalid(&self, word: &str) {
        let message = self.refused(400, "invalid_request", serde_json::json!({}));
        assert!(message.contains(word), "{message:?} does not name {word}");
    }

    /// A whole number of the body.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        self.ok()[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {}", self.text()))
    }

    #[track_caller]
    fn assert_has_request_id(&self) {
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
    }
}
