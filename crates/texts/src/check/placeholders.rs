//! The names that a message uses: placeholders, words of variants, other messages.

use std::collections::{BTreeMap, BTreeSet};

use fluent_syntax::ast::{
    CallArguments, Entry, Expression, Identifier, InlineExpression, Pattern, PatternElement, Variant, VariantKey,
};

use super::plurals::Plurals;
use crate::arguments::Use;
use crate::kinds::Param;
use crate::layer::Layer;

/// The placeholders that exist where a text is written.
pub(super) struct Scope(BTreeMap<String, Use>);

impl Scope {
    pub(super) fn of(params: &[Param]) -> Self {
        Self(params.iter().flat_map(Param::placeholders).collect())
    }

    /// Of the messages by which amounts, dates and spans are written; none for other messages.
    pub(super) fn of_helper(id: &str) -> Option<Self> {
        let written = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Use::Written)).collect();
        Some(Self(match id {
            "format-money" => written(&["amount"]),
            "format-date" | "format-date-year" => written(&["day", "month", "month_number", "year", "hour", "minute"]),
            "format-days" | "format-hours" | "format-minutes" | "format-more" => {
                BTreeMap::from([("count".to_owned(), Use::Plural)])
            }
            "format-group" | "format-point" | "format-moment" => BTreeMap::new(),
            _ if id.strip_prefix("format-month-").is_some_and(is_month) => BTreeMap::new(),
            _ => return None,
        }))
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.0.keys().map(|name| format!("${name}")).collect();
        if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) }
    }
}

fn is_month(number: &str) -> bool {
    number.parse().is_ok_and(|number: u8| (1..=12).contains(&number) && number.to_string().len() <= 2)
}

/// Reads the messages of a layer.
pub(super) struct Reader<'a> {
    layer: &'a Layer,
    plurals: Plurals,
    /// Messages that others refer to.
    referred_to: BTreeSet<&'a str>,
}

/// One walk through a message.
struct Walk<'a> {
    reader: &'a Reader<'a>,
    scope: &'a Scope,
    found: Vec<String>,
    /// Messages that the walk is inside of: they may refer to each other in a circle.
    inside: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layer: &'a Layer) -> Self {
        let mut referred_to = BTreeSet::new();
        for entry in layer.own.entries() {
            if let Entry::Message(message) = entry {
                let attributes = message.attributes.iter().map(|attribute| &attribute.value);
                message.value.iter().chain(attributes).for_each(|pattern| references(pattern, &mut referred_to));
            }
        }
        Self { layer, plurals: Plurals::of(&layer.language), referred_to }
    }

    pub(super) fn is_referred_to(&self, id: &str) -> bool {
        self.referred_to.contains(id)
    }

    /// What is wrong with the names in a text.
    pub(super) fn problems(&self, pattern: &Pattern<&str>, scope: &Scope) -> Vec<String> {
        let mut walk = Walk { reader: self, scope, found: Vec::new(), inside: Vec::new() };
        walk.pattern(pattern);
        walk.found
    }

    fn term(&self, id: &str) -> Option<(&'a str, &'a Pattern<&'a str>)> {
        self.layer.own.entries().find_map(|entry| match entry {
            Entry::Term(term) if term.id.name == id => Some((term.id.name, &term.value)),
            _ => None,
        })
    }

    fn message(&self, id: &str) -> Option<(&'a str, &'a Pattern<&'a str>)> {
        self.layer.own.entries().find_map(|entry| match entry {
            Entry::Message(message) if message.id.name == id => Some((message.id.name, message.value.as_ref()?)),
            _ => None,
        })
    }
}

impl<'a> Walk<'a> {
    fn pattern(&mut self, pattern: &Pattern<&str>) {
        for element in &pattern.elements {
            if let PatternElement::Placeable { expression } = element {
                self.expression(expression);
            }
        }
    }

    fn expression(&mut self, expression: &Expression<&str>) {
        match expression {
            Expression::Inline(inline) => self.inline(inline),
            Expression::Select { selector, variants } => {
                self.selector(selector, variants);
                variants.iter().for_each(|variant| self.pattern(&variant.value));
            }
        }
    }

    fn inline(&mut self, inline: &InlineExpression<&str>) {
        match inline {
            InlineExpression::VariableReference { id } => self.written(id),
            InlineExpression::MessageReference { id, attribute: None } => self.message(id.name),
            InlineExpression::FunctionReference { id, arguments } => self.function(id, arguments),
            InlineExpression::Placeable { expression } => self.expression(expression),
            InlineExpression::TermReference { id, arguments, .. } => self.term(id.name, arguments.as_ref()),
            // Rendering the samples shows what else does not exist.
            _ => {}
        }
    }

    /// A term has the placeholders that it is given, and Fluent is silent about others.
    fn term(&mut self, id: &str, arguments: Option<&CallArguments<&str>>) {
        let Some((id, pattern)) = self.reader.term(id) else {
            return;
        };
        if self.inside.contains(&id) {
            return;
        }
        let named = arguments.map_or(&[][..], |arguments| &arguments.named);
        let scope = Scope(named.iter().map(|argument| (argument.name.name.to_owned(), Use::Code)).collect());
        let mut inner =
            Walk { reader: self.reader, scope: &scope, found: Vec::new(), inside: [&self.inside[..], &[id]].concat() };
        inner.pattern(pattern);
        self.found.extend(inner.found.into_iter().map(|problem| format!("-{id}: {problem}")));
    }

    fn function(&mut self, id: &Identifier<&str>, arguments: &CallArguments<&str>) {
        self.found.push(format!("calls {}(), but there are no functions", id.name));
        arguments.positional.iter().for_each(|argument| self.inline(argument));
    }

    fn message(&mut self, id: &str) {
        if let Some((id, pattern)) = self.reader.message(id)
            && !self.inside.contains(&id)
        {
            self.inside.push(id);
            self.pattern(pattern);
            self.inside.pop();
        }
    }

    fn unknown(&mut self, name: &str) {
        self.found.push(format!("unknown placeholder ${name}; {}", self.scope.names()));
    }

    fn written(&mut self, id: &Identifier<&str>) {
        match self.scope.0.get(id.name) {
            None => self.unknown(id.name),
            Some(Use::Word(_)) => {
                self.found.push(format!("writes ${}, which is only a word to choose a variant by", id.name));
            }
            Some(Use::Written | Use::Plural | Use::Code) => {}
        }
    }

    fn selector(&mut self, selector: &InlineExpression<&str>, variants: &[Variant<&str>]) {
        let InlineExpression::VariableReference { id } = selector else {
            self.inline(selector);
            return;
        };
        let keys: Vec<&str> = variants.iter().map(key).collect();
        match self.scope.0.get(id.name) {
            None => self.unknown(id.name),
            Some(Use::Plural) => self.found.extend(self.reader.plurals.problem(id.name, &keys)),
            Some(Use::Word(known)) if !known.is_empty() => {
                for key in keys.iter().filter(|key| !known.contains(key)) {
                    self.found.push(format!("${} is never [{key}]; it is {}", id.name, known.join(" or ")));
                }
            }
            Some(Use::Word(_) | Use::Code) => {}
            Some(Use::Written) => {
                self.found
                    .push(format!("chooses by ${}, which is written for people and differs by language", id.name));
            }
        }
    }
}

fn key<'a>(variant: &Variant<&'a str>) -> &'a str {
    match variant.key {
        VariantKey::Identifier { name } => name,
        VariantKey::NumberLiteral { value } => value,
    }
}

/// Collects the messages that a text refers to.
fn references<'a>(pattern: &Pattern<&'a str>, found: &mut BTreeSet<&'a str>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            references_of(expression, found);
        }
    }
}

fn references_of<'a>(expression: &Expression<&'a str>, found: &mut BTreeSet<&'a str>) {
    match expression {
        Expression::Inline(InlineExpression::MessageReference { id, .. }) => {
            found.insert(id.name);
        }
        Expression::Inline(InlineExpression::Placeable { expression }) => references_of(expression, found),
        Expression::Inline(_) => {}
        Expression::Select { variants, .. } => {
            variants.iter().for_each(|variant| references(&variant.value, found));
        }
    }
}
