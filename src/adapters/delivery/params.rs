//! Reads the values that the templates of a step call `params` and `secrets`: the parameters of its preset, and the
//! secrets that it refers to.
//!
//! **Invariant:** a secret is read only for a step that refers to it, and is dropped with that step's values.

use minijinja::value::Value;

use crate::adapters::delivery::Tools;
use crate::adapters::delivery::template::Params;
use crate::config::settings::{HttpStep, Param};
use crate::ports::Answer;

/// The parameters and secrets of a step, with the secrets read.
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
