//! JSON as text, byte for byte: numbers of any size and precision, the order of keys, escapes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// One JSON value as it was written. Two are equal if their texts are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The text, without blanks around it.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// What it says, as far as that can be held: numbers beyond a double, and more than 128 levels, cannot.
    pub fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.get()).map_err(|error| format!("cannot be read: {error}"))
    }

    /// The values of an object by their keys, of equal ones the last. `None` if it is none.
    pub fn parts(&self) -> Option<BTreeMap<String, Self>> {
        serde_json::from_str(self.get()).ok()
    }

    /// An object of these.
    pub fn of_parts(parts: &BTreeMap<String, Self>) -> Self {
        Self(to_raw_value(parts).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// The values of a list. `None` if it is none.
    pub fn items(&self) -> Option<Vec<Self>> {
        serde_json::from_str(self.get()).ok()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        Self(to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_was_written() {
        let text = r#"{"z":12345678901234567890123,"a":1.10,"e":1e400,"u":"\u00fc","l":[ 1,2 ]}"#;
        let kept: JsonText = serde_json::from_str(&format!(" {text} ")).expect("JSON");
        assert_eq!(kept.get(), text);
        assert_eq!(serde_json::to_string(&[&kept]).expect("JSON"), format!("[{text}]"));
        assert!(kept.value().is_err_and(|told| told.contains("out of range")));
        let parts = kept.parts().expect("an object");
        assert_eq!(parts["a"].get(), "1.10");
        assert_eq!(parts["l"].items().expect("a list")[0].value(), Ok(Value::from(1)));
        assert!(parts["l"].parts().is_none() && kept.items().is_none());
    }
}
