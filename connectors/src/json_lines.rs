//! Records as lines of JSON: one object per line (<https://jsonlines.org>).

use super::line_format::LineFormat;
use serde::Serialize;
use thalweg_io::Buffer;
use thalweg_record::record::Record;

/// JSON objects whose fields a function writes.
#[derive(Clone)]
pub struct JsonLines<F> {
    function: F,
    object: JsonObjectWriter,
}

impl<F> JsonLines<F> {
    pub(super) fn new(function: F) -> Self {
        Self { function, object: JsonObjectWriter::default() }
    }
}

impl<T: Record, F> LineFormat<T> for JsonLines<F>
where
    F: for<'a> FnMut(T::Ref<'a>, &mut JsonObjectWriter) + Clone + Send + 'static,
{
    #[inline]
    fn append(&mut self, view: T::Ref<'_>, block: &mut Buffer) {
        self.object.bytes.clear();
        (self.function)(view, &mut self.object);
        block.extend_from_slice(self.object.end());
    }
}

/// Takes the fields of one object, in the order in which they are written.
///
/// Strings are escaped, so that a line holds one object and an object contains no line end; values that JSON has no number for, NaN and the infinities,
/// become `null`, and so does `None`. A name that is given twice appears twice.
///
/// ```
/// # mod thalweg { pub use thalweg_connectors as connectors; }
/// use thalweg::connectors::JsonObjectWriter;
///
/// let mut object = JsonObjectWriter::default();
/// object.field("carrier", "Über \"Air\"").field("delay", 7.5).field("gate", None::<u8>).field("stops", ["JFK", "LAX"]);
/// assert_eq!(object.as_json(), r#"{"carrier":"Über \"Air\"","delay":7.5,"gate":null,"stops":["JFK","LAX"]}"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct JsonObjectWriter {
    /// The object without its closing brace.
    bytes: Vec<u8>,
}

impl JsonObjectWriter {
    /// Adds a field with a value of any type that serde can write.
    ///
    /// # Panics
    /// If the value cannot be written as JSON: its own `Serialize` reports an error, or it is a map whose keys are neither strings nor numbers.
    #[inline]
    pub fn field(&mut self, name: &str, value: impl Serialize) -> &mut Self {
        self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
        let written = serde_json::to_writer(&mut self.bytes, name).and_then(|()| {
            self.bytes.push(b':');
            serde_json::to_writer(&mut self.bytes, &value)
        });
        if let Err(error) = written {
            panic!("field {name} cannot be written as JSON: {error}");
        }
        self
    }

    /// Ends the object and its line and returns all of it.
    fn end(&mut self) -> &[u8] {
        if self.bytes.is_empty() {
            self.bytes.push(b'{');
        }
        self.bytes.extend_from_slice(b"}\n");
        &self.bytes
    }

    /// The object so far, as if it ended here.
    #[must_use]
    pub fn as_json(&self) -> String {
        let mut whole = self.clone();
        let line = String::from_utf8_lossy(whole.end()).into_owned();
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    proptest! {
        #[test]
        fn what_is_written_is_one_line_and_is_read_back(name in "\\PC*|[\"\\\\\n\r\t\u{0}-\u{1f}\u{2028}]*", text in any::<String>(), number: f64, whole: i64) {
            let mut writer = JsonObjectWriter::default();
            writer.field(&name, &text).field("number", number).field("whole", whole);
            let line = std::str::from_utf8(writer.end()).unwrap().to_owned();
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(!line.contains('\r'));
            let read: Value = serde_json::from_str(&line).unwrap();
            if name != "number" && name != "whole" {
                prop_assert_eq!(&read[&name], &Value::String(text));
            }
            prop_assert_eq!(read["whole"].as_i64(), Some(whole));
            // Parse with Rust, which loses no bit; the reader of serde_json may.
            let written = line.rsplit_once(",\"number\":").and_then(|(_, rest)| rest.split_once(',')).unwrap().0;
            match written.parse::<f64>() {
                Ok(back) => prop_assert_eq!(back.to_bits(), number.to_bits()),
                Err(_) => prop_assert!(!number.is_finite() && written == "null"),
            }
        }
    }

    #[test]
    fn what_is_no_number_is_null_and_an_object_without_fields_is_one() {
        let mut writer = JsonObjectWriter::default();
        assert_eq!(writer.as_json(), "{}");
        assert_eq!(writer.end(), b"{}\n");
        writer.bytes.clear();
        writer.field("nan", f64::NAN).field("far", f32::NEG_INFINITY).field("none", None::<i32>).field("list", vec![1.5, f64::INFINITY]);
        assert_eq!(writer.as_json(), r#"{"nan":null,"far":null,"none":null,"list":[1.5,null]}"#);
    }

    #[test]
    #[should_panic(expected = "field pairs cannot be written as JSON")]
    fn a_value_that_json_has_no_form_for_is_not_passed_over() {
        let map: std::collections::BTreeMap<Option<Vec<u8>>, u8> = [(Some(vec![1]), 2)].into();
        JsonObjectWriter::default().field("pairs", map);
    }
}
