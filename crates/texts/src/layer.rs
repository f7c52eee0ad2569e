//! One language's messages: the shipped ones, or those with an operator's laid over them.

use std::sync::Arc;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use unic_langid::LanguageIdentifier;

/// Where the messages of a layer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Shipped,
    /// A file of the operator's folder, by name.
    File(String),
}

pub(crate) struct Layer {
    pub(crate) language: LanguageIdentifier,
    pub(crate) origin: Origin,
    /// What this layer says itself.
    pub(crate) own: Arc<FluentResource>,
    bundle: FluentBundle<Arc<FluentResource>>,
}

impl Layer {
    /// `own` laid over what is `below`.
    pub(crate) fn new(
        language: LanguageIdentifier,
        origin: Origin,
        below: Option<&Arc<FluentResource>>,
        own: Arc<FluentResource>,
    ) -> Self {
        let mut bundle = FluentBundle::new_concurrent(vec![language.clone()]);
        // Telegram's clients show the marks as boxes, and values are cleaned of what would turn the direction.
        bundle.set_use_isolating(false);
        if let Some(below) = below {
            bundle.add_resource_overriding(Arc::clone(below));
        }
        bundle.add_resource_overriding(Arc::clone(&own));
        Self { language, origin, own, bundle }
    }

    /// File or language, for a person.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Origin::Shipped => format!("{} (shipped)", self.language),
            Origin::File(name) => name.clone(),
        }
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.bundle.get_message(id).is_some_and(|message| message.value().is_some())
    }

    /// A message, or an attribute of it; none where it does not exist.
    ///
    /// # Errors
    /// What Fluent missed while it wrote: it would leave the placeholder's name in the text.
    pub(crate) fn text(
        &self,
        id: &str,
        attribute: Option<&str>,
        args: &FluentArgs<'_>,
    ) -> Result<Option<String>, String> {
        let pattern = self.bundle.get_message(id).and_then(|message| match attribute {
            None => message.value(),
            Some(name) => message.get_attribute(name).map(|attribute| attribute.value()),
        });
        let Some(pattern) = pattern else {
            return Ok(None);
        };
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(args), &mut errors);
        match errors.first() {
            None => Ok(Some(text.into_owned())),
            Some(fluent_bundle::FluentError::ResolverError(error)) => Err(error.to_string()),
            Some(error) => Err(error.to_string()),
        }
    }
}
