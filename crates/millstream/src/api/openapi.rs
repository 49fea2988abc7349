//! `/api/v1/openapi.json`: the API described for machines, made from the routes and the structs of their
//! answers. Nothing in it is written twice.

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::route::{Methods, Route};
use super::{Answer, Asked, ROUTES};
use crate::identity;
use crate::session::http::reply;

/// What an answer looks like.
pub(super) enum Shape {
    Json(Json),
    /// Always a number of what went wrong.
    Failure,
    /// Always another address.
    Redirect,
}

/// A good answer.
pub(super) struct Json {
    /// Name among the components.
    name: String,
    schema: Value,
    /// The schemas it refers to, by name.
    parts: Vec<(String, Value)>,
}

/// The shape of a struct that [`Answer::ok`] puts in the envelope.
pub(super) fn enveloped<T: ToSchema>() -> Shape {
    envelope(json_of::<T>(true))
}

/// The same for a struct in [`Data`](super::Data).
pub(super) fn data<T: ToSchema>() -> Shape {
    let Json { name, schema, mut parts } = json_of::<T>(true);
    let whole = json!({ "properties": { "data": reference(&name) }, "required": ["data"] });
    let outer = format!("{name}Data");
    parts.push((name, schema));
    envelope(Json { name: outer, schema: whole, parts })
}

fn envelope(Json { name, schema, parts }: Json) -> Shape {
    let mut properties = Map::from_iter([
        ("code".to_owned(), json!({ "type": "integer", "const": 0 })),
        ("server".to_owned(), json!({ "type": "string", "description": "New at every start." })),
    ]);
    let mut required = vec![json!("code"), json!("server")];
    if let Some(own) = schema["properties"].as_object() {
        properties.extend(own.clone());
    }
    required.extend(schema["required"].as_array().cloned().unwrap_or_default());
    for name in ["service", "pid"] {
        properties.insert(name.to_owned(), json!({ "type": "string" }));
        required.push(name.into());
    }
    let schema = closed(json!({ "type": "object", "properties": properties, "required": required }));
    Shape::Json(Json { name, schema, parts })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The shape of a struct that is the whole answer.
pub(super) fn bare<T: ToSchema>() -> Shape {
    Shape::Json(json_of::<T>(true))
}

/// The same with members of any names beside those of the struct.
pub(super) fn open<T: ToSchema>() -> Shape {
    Shape::Json(json_of::<T>(false))
}

pub(super) fn failure() -> Shape {
    Shape::Failure
}

pub(super) fn redirect() -> Shape {
    Shape::Redirect
}

fn json_of<T: ToSchema>(is_closed: bool) -> Json {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let value = |schema| serde_json::to_value(schema).unwrap_or_default();
    let whole = value(T::schema());
    Json {
        name: T::name().into_owned(),
        schema: if is_closed { closed(whole) } else { whole },
        parts: parts.into_iter().map(|(name, schema)| (name, closed(value(schema)))).collect(),
    }
}

/// An object that has the members named and no others.
fn closed(mut schema: Value) -> Value {
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = false.into();
    }
    schema
}

pub(super) fn get(_: &Asked<'_>) -> Answer {
    let text = document().to_string();
    Answer::http(reply::text(StatusCode::OK, "application/json", text))
}

fn document() -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    schemas.insert(
        "Failure".to_owned(),
        closed(json!({
            "type": "object",
            "description": "What went wrong, in SRS's numbers.",
            "properties": {
                "code": { "type": "integer", "not": { "const": 0 } },
                "msg": { "type": "string", "description": "In words, where the number says little." },
            },
            "required": ["code"],
        })),
    );
    for route in ROUTES {
        let Some(shape) = route.shape else { continue };
        paths.insert(route.path.to_owned(), item(route, shape(), &mut schemas));
        if let Some(shape) = route.item {
            paths.insert(format!("{}{{id}}", route.path), item_of_id(route, shape(), &mut schemas));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream HTTP API",
            "version": identity::VERSION,
            "description": "Failures are HTTP 200 with a code other than 0. With the parameter `callback` an \
                answer is JSONP, and `method` replaces the method.",
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn item(route: &Route, shape: Shape, schemas: &mut Map<String, Value>) -> Value {
    let mut operation = operation(route, shape, schemas);
    let parameter = |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    if !route.query.is_empty() {
        operation["parameters"] = route.query.iter().map(parameter).collect();
    }
    match route.methods {
        Methods::Any => json!({ "get": operation, "post": operation }),
        Methods::Get | Methods::GetDelete => json!({ "get": operation }),
    }
}

/// The path of one thing in a list.
fn item_of_id(route: &Route, shape: Shape, schemas: &mut Map<String, Value>) -> Value {
    let mut item = json!({
        "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
        "get": operation(route, shape, schemas),
    });
    if route.methods == Methods::GetDelete {
        item["delete"] = operation(route, enveloped::<Done>(), schemas);
    }
    item
}

/// A good answer without members of its own.
#[derive(serde::Serialize, ToSchema)]
pub(super) struct Done {}

fn operation(route: &Route, shape: Shape, schemas: &mut Map<String, Value>) -> Value {
    let answer = match shape {
        Shape::Redirect => {
            let there = json!({ "301": { "description": "What is asked for is at `Location`." } });
            return json!({ "summary": route.doc, "responses": there });
        }
        Shape::Failure => reference("Failure"),
        Shape::Json(Json { name, schema, parts }) => {
            schemas.extend(parts);
            let answer = json!({ "oneOf": [reference(&name), reference("Failure")] });
            schemas.insert(name, schema);
            answer
        }
    };
    json!({
        "summary": route.doc,
        "responses": {
            "200": {
                "description": "The answer, or the number of what went wrong.",
                "content": { "application/json": { "schema": answer } },
            },
        },
    })
}
