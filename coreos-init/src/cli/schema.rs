//! `schema`: the language as a JSON Schema, for editors.

use cloud_config::{Outline, Shape, outline};
use serde_json::{Map, Value, json};

/// The schema of a whole cloud-config (JSON Schema, 2020-12).
pub fn schema() -> Value {
    let mut schema = mapping(&outline(), "#");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("cloud-config of CoreOS-rs");
    schema
}

/// A mapping. A key may be written with `-` for any `_`: as a property it is completed by
/// editors as it is in the manual, as a pattern it is known in every spelling.
fn mapping(outline: &Outline, at: &str) -> Value {
    let mut properties = Map::new();
    let mut patterns = Map::new();
    for key in &outline.keys {
        let place = format!("{at}/properties/{}", key.name);
        let mut value = shape(key.shape, &place);
        if !key.about.is_empty() {
            value["description"] = json!(key.about);
        }
        if key.name.contains('_') {
            patterns.insert(format!("^{}$", key.name.replace('_', "[-_]")), json!({"$ref": place}));
        }
        properties.insert(key.name.to_string(), value);
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !patterns.is_empty() {
        schema["patternProperties"] = Value::Object(patterns);
    }
    let required: Vec<_> = outline
        .keys
        .iter()
        .filter(|key| key.required && !key.name.contains('_'))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The value of a shape. `at` is where it will stand, as a JSON pointer.
fn shape(shape: Shape, at: &str) -> Value {
    // YAML makes numbers and flags of words that are text here.
    let scalar = json!({"type": ["string", "number", "boolean"]});
    match shape {
        Shape::Text | Shape::Any => match shape {
            Shape::Any => json!({}),
            _ => scalar,
        },
        Shape::Flag => json!({"anyOf": [
            {"type": "boolean"},
            {"enum": ["true", "false", "yes", "no", "on", "off", "y", "n"]},
        ]}),
        Shape::Whole(least) => json!({"anyOf": [
            {"type": "integer", "minimum": least},
            {"type": "string", "pattern": "^[0-9]+$"},
        ]}),
        Shape::Number => json!({"anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": "^[0-9.]+$"},
        ]}),
        Shape::Octal => json!({"anyOf": [
            {"type": "string", "pattern": "^[0-7]{1,5}$"},
            {"type": "integer", "minimum": 0, "maximum": 7777},
        ]}),
        Shape::Words(words) => {
            // `off` is a flag to some readers of YAML.
            let flags = words.iter().any(|word| ["on", "off", "true", "false"].contains(word));
            match flags {
                true => json!({"anyOf": [{"enum": words}, {"type": "boolean"}]}),
                false => json!({"enum": words}),
            }
        }
        Shape::List(item) => {
            json!({"type": "array", "items": self::shape(*item, &format!("{at}/items"))})
        }
        Shape::Either(shapes) => {
            let one =
                |(index, one): (usize, &Shape)| self::shape(*one, &format!("{at}/anyOf/{index}"));
            json!({"anyOf": shapes.iter().enumerate().map(one).collect::<Vec<_>>()})
        }
        Shape::Keys(outline) => mapping(&outline(), at),
        Shape::Names(value) => {
            json!({"type": "object", "additionalProperties": self::shape(*value, &format!("{at}/additionalProperties"))})
        }
    }
}
