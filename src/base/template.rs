//! Texts with places to fill in (Jinja), written by users: checked when the configuration is, bounded when used.

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

/// Instructions that one rendering may take: a loop over a thousand letters is far below.
const FUEL: u64 = 1_000_000;
/// Bytes that a rendered text has at most.
const LARGEST: usize = 1 << 20;

/// A text with places to fill in.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    environment: Environment<'static>,
}

/// Two templates are the same where their texts are.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Template {
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        // A name that does not exist is a slip, and not an empty text.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("template", text.to_owned()).map_err(|error| explain(&error))?;
        Ok(Self { text: text.to_owned(), environment })
    }

    /// # Errors
    /// What it asks for and is not in `values`, or that it does not end.
    pub fn render(&self, values: &serde_json::Value) -> Result<String, String> {
        let template = self.environment.get_template("template").expect("it was added when this was made");
        let text = template.render(minijinja::value::Serde(values)).map_err(|error| explain(&error))?;
        match text.len() {
            ..=LARGEST => Ok(text),
            _ => Err("it makes more than 1 MiB of text".into()),
        }
    }
}

/// The filter of that name, but a slip is one here too, and not `null`.
fn to_json(value: Value, indent: Option<Value>, args: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "nothing has this name"));
    }
    minijinja::filters::tojson(&value, indent, args)
}

fn explain(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), |d| format!("{}: {d}", error.kind()));
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_filled_and_slips_are_found() {
        let template = Template::new("{{ camera }}: {{ text | tojson }}").expect("good");
        assert_eq!(
            template.render(&json!({"camera": "gate", "text": "a\"b"})),
            Ok("gate: \"a\\\"b\"".into())
        );
        let slip = template.render(&json!({"camera": "gate"})).expect_err("no text");
        assert!(slip.contains("undefined"), "{slip}");
        assert!(Template::new("{{ camera").expect_err("open").contains("line 1"));
    }

    #[test]
    fn a_template_that_would_go_on_for_ever_is_stopped() {
        let endless =
            Template::new("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}");
        assert!(endless.expect("good").render(&json!({})).is_err());
    }
}
