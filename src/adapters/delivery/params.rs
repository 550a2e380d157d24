//! What a preset was given, and the secrets that a step refers to, as its templates speak of them.
//!
//! **Invariant:** a secret is read only for a step that speaks of it, and is forgotten with it.

use minijinja::value::Value;

use crate::adapters::delivery::Tools;
use crate::adapters::delivery::template::Params;
use crate::config::settings::{HttpStep, Param};
use crate::ports::Answer;

/// The params of a step, with its secrets read.
pub(super) async fn read(tools: &Tools, step: &HttpStep) -> Answer<Params> {
    let mut params = Params::default();
    for (name, param) in step.params.iter() {
        let value = match param {
            Param::Text(text) => Value::from(text.as_str()),
            Param::Number(number) => Value::from(*number),
            Param::Flag(flag) => Value::from(*flag),
            Param::Texts(texts) => Value::from(texts.clone()),
            Param::Secret(reference) => {
                params.secret.insert(name.clone(), tools.resolve(reference).await?);
                continue;
            }
        };
        params.plain.insert(name.clone(), value);
    }
    for (name, reference) in step.secrets.iter() {
        params.own_secrets.insert(name.clone(), tools.resolve(reference).await?);
    }
    Ok(params)
}
