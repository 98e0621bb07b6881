//! Reading the fields of a JSON body one by one, collecting everything that is wrong.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hookyard_core::{JsonText, Timestamp, limits};
use hookyard_wire::ignored;
use hookyard_wire::problem::{Invalid, Problem};
use serde_json::Value;

/// How absent fields are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// POST and PUT: an absent field has its default.
    Whole,
    /// PATCH: an absent field stays as it is.
    Partial,
}

/// What the operation does not know of this request's bodies.
#[derive(Default)]
struct Unknown {
    ignored: BTreeSet<String>,
    /// Event types of a filter that the catalog does not know.
    types: BTreeSet<String>,
    /// The caller wants to be told of a mistake instead.
    is_strict: bool,
}

tokio::task_local! {
    static UNKNOWN: RefCell<Unknown>;
}

/// The fields of a JSON object as they were written.
pub type Body = BTreeMap<String, JsonText>;

/// A body being read.
pub struct Fields {
    body: Body,
    mode: Mode,
    /// Of an operation of ours: what nobody knows is a mistake there, and ignored on those of the compatible API.
    is_ours: bool,
    invalid: Vec<Invalid>,
    /// Names that were read.
    known: Vec<&'static str>,
}

/// Names in the answer what was ignored in the request's body.
pub async fn name_ignored(request: Request, next: Next) -> Response {
    let unknown = Unknown { is_strict: ignored::is_strict(request.headers()), ..Unknown::default() };
    let answer = async {
        let mut response = next.run(request).await;
        let Unknown { ignored, types, .. } = UNKNOWN.with(RefCell::take);
        ignored::name_ignored(response.headers_mut(), ignored);
        ignored::name_unknown_types(response.headers_mut(), types);
        response
    };
    UNKNOWN.scope(RefCell::new(unknown), answer).await
}

/// Names in the answer an event type that the catalog does not know: a typing mistake would make a silent endpoint.
pub fn name_unknown_type(name: String) {
    note(|unknown| unknown.types.insert(name));
}

/// Adds to what the answer names. Outside of a request, as in unit tests, there is no answer.
fn note(add: impl FnOnce(&mut Unknown) -> bool) {
    if UNKNOWN.try_with(|unknown| add(&mut unknown.borrow_mut())).is_err() {
        tracing::trace!("there is no answer that could name what is unknown");
    }
}

impl Fields {
    pub fn new(body: Body, mode: Mode) -> Self {
        Self { body, mode, is_ours: false, invalid: Vec::new(), known: Vec::new() }
    }

    /// The body of an operation of ours.
    pub fn of_ours(body: Body) -> Self {
        Self { is_ours: true, ..Self::new(body, Mode::Whole) }
    }

    /// The body of an operation of ours, of which what is absent stays as it is.
    pub fn changes_of_ours(body: Body) -> Self {
        Self { is_ours: true, ..Self::new(body, Mode::Partial) }
    }

    /// Everything wrong so far, as an answer; nothing if all is well. What is left unread nobody knows.
    pub fn finish(mut self) -> Result<(), Problem> {
        let others = std::mem::take(&mut self.body);
        let is_strict = self.is_ours || UNKNOWN.try_with(|unknown| unknown.borrow().is_strict).unwrap_or_default();
        for (name, value) in others {
            // Null says nothing.
            if value.is_null() && !is_strict {
                continue;
            }
            match ignored::objection(&name, self.known.iter().copied()) {
                Some(objection) => self.wrong(&name, objection),
                None if is_strict => self.wrong(&name, "there is no such field"),
                None => note(|unknown| unknown.ignored.insert(name)),
            }
        }
        if self.invalid.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.invalid)) }
    }

    /// Adds a mistake.
    pub fn wrong(&mut self, field: &str, msg: impl Into<String>) {
        let loc = vec!["body".to_owned(), field.to_owned()];
        self.invalid.push(Invalid { loc, msg: msg.into(), r#type: "value_error".to_owned() });
    }

    /// Takes a field out of the body.
    fn take(&mut self, field: &'static str) -> Option<JsonText> {
        self.know(field);
        self.body.remove(field)
    }

    fn know(&mut self, field: &'static str) {
        self.known.push(field);
        #[cfg(test)]
        tests::ASKED.with_borrow_mut(|asked| asked.insert(field.to_owned()));
    }

    /// Reads `field` into `target`. Null and, in a whole body, absence mean the default.
    pub fn read<T: Default>(&mut self, field: &'static str, target: &mut T, parse: impl FnOnce(&Value) -> Result<T, String>) {
        self.read_text(field, target, |text| parse(&text.value()?));
    }

    /// The same of its text, which may be kept.
    pub fn read_text<T: Default>(
        &mut self,
        field: &'static str,
        target: &mut T,
        parse: impl FnOnce(&JsonText) -> Result<T, String>,
    ) {
        match self.take(field) {
            None if self.mode == Mode::Partial => {}
            Some(text) if !text.is_null() => self.parse(field, &text, target, parse),
            _ => *target = T::default(),
        }
    }

    /// Whether the body has `field`, be it null.
    pub fn has(&mut self, field: &'static str) -> bool {
        self.know(field);
        self.body.contains_key(field)
    }

    /// Reads `field` into `target`; absence leaves it as it is in every mode. For fields the compatible API's clients do not know.
    pub fn read_if_present<T: Default>(
        &mut self,
        field: &'static str,
        target: &mut T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        if self.has(field) {
            self.read(field, target, parse);
        }
    }

    /// Reads a field that has an `older` name too. Who read both and changed one means that one.
    pub fn read_either<T: Default + PartialEq>(
        &mut self,
        field: &'static str,
        older: &'static str,
        target: &mut T,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) {
        let read = |text: &JsonText| if text.is_null() { Ok(T::default()) } else { parse(&text.value()?) };
        let [given, by_older] = [field, older].map(|name| self.take(name));
        let chosen = match (&given, &by_older) {
            (Some(value), Some(other)) => match [read(value), read(other)] {
                [Ok(value), Ok(other)] if value == other || other == *target => given,
                [Ok(value), Ok(_)] if value == *target => by_older,
                [Ok(_), Ok(_)] => return self.wrong(older, format!("is an older name of {field}, and says something else")),
                [Err(msg), _] => return self.wrong(field, msg),
                [_, Err(msg)] => return self.wrong(older, msg),
            },
            (given_alone, None) => given_alone.clone(),
            (None, _) => by_older.clone(),
        };
        match chosen {
            Some(value) => self.parse(field, &value, target, read),
            None if self.mode == Mode::Whole => *target = T::default(),
            None => {}
        }
    }

    /// Passes over a field that is shown and cannot be changed: a client that writes back what it read makes no mistake.
    pub fn pass_over(&mut self, shown: &'static str) {
        if self.body.remove(shown).is_some() {
            note(|unknown| unknown.ignored.insert(shown.to_owned()));
        }
    }

    /// Reads `field`, which a whole body must have.
    pub fn require<T>(&mut self, field: &'static str, target: &mut T, parse: impl FnOnce(&Value) -> Result<T, String>) {
        match self.take(field) {
            None if self.mode == Mode::Partial => {}
            Some(text) if !text.is_null() => self.parse(field, &text, target, |text| parse(&text.value()?)),
            _ => {
                let loc = vec!["body".to_owned(), field.to_owned()];
                let (msg, r#type) = ("field required".to_owned(), "value_error.missing".to_owned());
                self.invalid.push(Invalid { loc, msg, r#type });
            }
        }
    }

    fn parse<T>(&mut self, field: &str, text: &JsonText, target: &mut T, parse: impl FnOnce(&JsonText) -> Result<T, String>) {
        match parse(text) {
            Ok(parsed) => *target = parsed,
            Err(msg) => self.wrong(field, msg),
        }
    }
}

/// Text of at most this many bytes.
pub fn text(most: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| match value.as_str() {
        Some(text) if text.len() <= most => Ok(text.to_owned()),
        Some(_) => Err(format!("longer than {most} bytes")),
        None => Err("must be a string".to_owned()),
    }
}

/// Text with at least one character.
pub fn non_empty(most: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| text(most)(value).and_then(|text| if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) })
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A whole number within bounds.
pub fn number(least: u64, most: u64) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| match value.as_u64() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// Text in a form of its own.
pub fn parsed<T: FromStr<Err: std::fmt::Display>>(value: &Value) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| "must be a string".to_owned())?;
    text.parse().map_err(|error| format!("{error}"))
}

/// A list of distinct texts, each in a form of its own, at most `most` of them.
pub fn list<T: FromStr<Err: std::fmt::Display> + PartialEq>(most: usize) -> impl Fn(&Value) -> Result<Vec<T>, String> {
    move |value| {
        let items = value.as_array().ok_or_else(|| "must be a list".to_owned())?;
        if items.is_empty() {
            return Err("must not be empty; leave it out to mean all".to_owned());
        }
        if items.len() > most {
            return Err(format!("at most {most} are allowed"));
        }
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            let item = parsed(item)?;
            if list.contains(&item) {
                return Err("must not hold anything twice".to_owned());
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// A moment.
pub fn moment(value: &Value) -> Result<Timestamp, String> {
    let text = value.as_str().ok_or_else(|| "must be a string".to_owned())?;
    Timestamp::parse_rfc3339(text).ok_or_else(|| "must be an RFC 3339 date-time".to_owned())
}

/// A list of texts.
pub fn strings(value: &Value) -> Result<Vec<String>, String> {
    let texts = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    texts.flatten().ok_or_else(|| "must be a list of strings".to_owned())
}

/// An object of texts.
pub fn texts(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let object = value.as_object().ok_or_else(|| "must be an object of strings".to_owned())?;
    let pair = |(name, value): (&String, &Value)| {
        let value = value.as_str().ok_or_else(|| format!("{name} must be a string"))?;
        Ok((name.clone(), value.to_owned()))
    };
    object.iter().map(pair).collect()
}

/// The caller's own notes.
pub fn metadata(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let notes = texts(value)?;
    let bytes: usize = notes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::METADATA_BYTES {
        return Err(format!("must not be more than {} bytes in all", limits::METADATA_BYTES));
    }
    Ok(notes)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    thread_local! {
        /// Every field that was read by this thread.
        pub static ASKED: RefCell<BTreeSet<String>> = RefCell::default();
    }

    /// The fields that `read` reads.
    fn asked(read: impl FnOnce(Fields)) -> BTreeSet<String> {
        ASKED.take();
        read(Fields::new(Body::new(), Mode::Partial));
        ASKED.take()
    }

    #[test]
    fn bodies_hold_what_the_reference_says_and_nothing_else() {
        use hookyard_core::Timestamp;
        use hookyard_core::catalog::CatalogEntry;
        use hookyard_core::signature::Secret;

        use crate::endpoint_body::{read, read_secret};

        let description = serde_json::to_value(crate::operations().into_openapi()).expect("a description");
        let described = |name: &str| -> BTreeSet<String> {
            let properties = description["components"]["schemas"][name]["properties"].as_object();
            properties.unwrap_or_else(|| panic!("there is no {name}")).keys().cloned().collect()
        };
        let with = |names: BTreeSet<String>, more: &[&str]| -> BTreeSet<String> {
            names.into_iter().chain(more.iter().map(|name| (*name).to_owned())).collect()
        };
        let app = asked(|fields| drop(crate::apps::read(&mut crate::apps::tests::blank(), fields)));
        assert_eq!([described("AppIn"), described("AppPatch")], [app.clone(), app]);
        let allow = hookyard_core::address::AllowList::default();
        let endpoint = asked(|fields| drop(read(&mut crate::endpoints::tests::blank(), fields, &allow)));
        assert_eq!([described("EndpointUpdate"), described("EndpointPatch")], [endpoint.clone(), endpoint.clone()]);
        let secret = asked(|mut fields| drop(read_secret(&mut fields, |_| Secret::hmac(vec![7; 24]).expect("a secret"))));
        let secret: Vec<&str> = secret.iter().map(String::as_str).collect();
        let new = with(endpoint, &secret);
        assert_eq!(described("EndpointIn"), new);
        assert_eq!(described("UnsavedTestIn"), with(new, &["testEventType"]));
        let mut entry = CatalogEntry::new("a".parse().expect("a type"), Timestamp::default());
        let entry = asked(|fields| drop(crate::event_types::read(&mut entry, fields)));
        assert_eq!([described("EventTypeUpdate"), described("EventTypePatch")], [entry.clone(), entry.clone()]);
        assert_eq!(described("EventTypeIn"), with(entry, &["name"]));
    }
}
