//! Plants mutants into the copy of the program, disabled: `a < b` becomes
//! `(if crate::mutation::is(7) { a == b } else { a < b })`.
//!
//! Only one mutant is enabled at a time, so the text of an alternative contains no other mutants, and the size of
//! the planted code does not grow with the depth of the nesting.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::build::{self, Complaint, Copy};
use crate::catalogue::{Genre, Mutant, Span};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Fate {
    /// The mutant is in the copy, disabled.
    Asleep,
    /// The mutant does not compile.
    Unviable,
    /// The mutant must be compiled by itself.
    Alone,
}

pub(crate) struct Planted {
    fates: BTreeMap<usize, Fate>,
}

impl Planted {
    pub(crate) fn fate(&self, index: usize) -> Fate {
        self.fates.get(&index).copied().unwrap_or(Fate::Asleep)
    }
}

/// Plants all mutants, and takes those out again that the compiler rejects.
///
/// A mutant that it rejected in the same program the last time is not planted at first, so that nothing is compiled
/// again.
pub(crate) fn all(copy: &Copy, mutants: &[Mutant]) -> Result<Planted, String> {
    let program = copy.prepare(mutants)?;
    let remembered = copy.recall::<BTreeMap<usize, Fate>>(program);
    let mut planted = Planted { fates: remembered.unwrap_or_default() };
    let files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
    loop {
        let mut gardens = BTreeMap::new();
        for file in &files {
            let garden = Garden::plant(&copy.original(file)?, file, mutants, &mut planted)?;
            copy.write(file, &garden.text)?;
            gardens.insert(*file, garden);
        }
        let complaints = build::check(copy)?;
        println!("{} complaints of the compiler", complaints.len());
        if complaints.is_empty() {
            copy.remember(program, &planted.fates)?;
            return Ok(planted);
        }
        let before = planted.fates.len();
        for complaint in &complaints {
            for (file, at) in &complaint.places {
                if let Some(garden) = gardens.get(file.as_str()) {
                    garden.take_out(at, &mut planted);
                }
            }
        }
        if planted.fates.len() == before {
            let first: Vec<&str> =
                complaints.iter().map(|Complaint { text, .. }| text.as_str()).take(3).collect();
            return Err(format!("the copy does not compile:\n{}", first.join("\n")));
        }
    }
}

/// A place in the source at which mutants are planted.
struct Bed {
    range: Range<usize>,
    alternatives: Vec<(usize, String)>,
    kind: Kind,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// The alternatives are expressions that replace this one.
    Expression,
    /// The alternatives are early returns at the beginning of a function.
    Return,
    /// The alternatives are guards that keep an arm from matching.
    Guard,
}

/// The text of a source file with its planted mutants.
struct Garden {
    text: String,
    /// The places of the planted alternatives in the new text.
    alternatives: Vec<(Range<usize>, usize)>,
    beds: Vec<(Range<usize>, Vec<usize>)>,
}

impl Garden {
    fn plant(text: &str, file: &str, mutants: &[Mutant], planted: &mut Planted) -> Result<Garden, String> {
        let syntax = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
        let mut gardener = Gardener { text, waiting: BTreeMap::new(), beds: Vec::new() };
        for (index, mutant) in mutants.iter().enumerate().filter(|(_, mutant)| mutant.file == file) {
            if planted.fate(index) == Fate::Asleep {
                let place = (mutant.span.start, mutant.span.end);
                gardener.waiting.entry(place).or_default().push((index, mutant));
            }
        }
        gardener.visit_file(&syntax);
        for (index, _) in gardener.waiting.into_values().flatten() {
            planted.fates.insert(index, Fate::Alone);
        }
        let mut beds = gardener.beds;
        beds.sort_by_key(|bed| (bed.range.start, std::cmp::Reverse(bed.range.end)));
        let mut garden = Garden { text: String::new(), alternatives: Vec::new(), beds: Vec::new() };
        garden.render(text, 0..text.len(), &beds);
        Ok(garden)
    }

    /// Writes this part of the source, with the beds in it.
    fn render(&mut self, text: &str, part: Range<usize>, beds: &[Bed]) {
        let (mut at, mut rest) = (part.start, beds);
        while let Some((bed, others)) = rest.split_first() {
            let inner = others.iter().take_while(|other| other.range.start < bed.range.end).count();
            let (inner, after) = others.split_at(inner);
            self.text.push_str(&text[at..bed.range.start]);
            let begin = self.text.len();
            self.render_bed(text, bed, inner);
            let indices = bed.alternatives.iter().map(|(index, _)| *index).collect();
            self.beds.push((begin..self.text.len(), indices));
            (at, rest) = (bed.range.end, after);
        }
        self.text.push_str(&text[at..part.end]);
    }

    fn render_bed(&mut self, text: &str, bed: &Bed, inner: &[Bed]) {
        if bed.kind == Kind::Expression {
            self.text.push('(');
        }
        for (index, alternative) in &bed.alternatives {
            let condition = match bed.kind {
                Kind::Expression => format!("if crate::mutation::is({index}) {{ "),
                Kind::Return => format!(" if crate::mutation::is({index}) {{ return "),
                Kind::Guard => format!(" if !crate::mutation::is({index})"),
            };
            self.text.push_str(&condition);
            let begin = self.text.len();
            self.text.push_str(alternative);
            self.alternatives.push((begin..self.text.len(), *index));
            self.text.push_str(match bed.kind {
                Kind::Expression => " } else ",
                Kind::Return => "; } ",
                Kind::Guard => "",
            });
        }
        if bed.kind == Kind::Expression {
            self.text.push_str("{ ");
            self.render(text, bed.range.clone(), inner);
            self.text.push_str(" })");
        }
    }

    /// Takes out the code that the compiler rejects: one alternative, or the mutants around original code that no
    /// longer compiles.
    fn take_out(&self, at: &Range<usize>, planted: &mut Planted) {
        let holds = |range: &Range<usize>| range.start <= at.start && at.end <= range.end;
        if let Some((_, index)) = self.alternatives.iter().find(|(range, _)| holds(range)) {
            planted.fates.insert(*index, Fate::Unviable);
            return;
        }
        let touches = |range: &Range<usize>| range.start < at.end && at.start < range.end;
        let around = self.beds.iter().filter(|(range, _)| holds(range)).min_by_key(|(range, _)| range.len());
        let inside = self.beds.iter().filter(|(range, _)| touches(range) && around.is_none());
        for index in around.into_iter().chain(inside).flat_map(|(_, indices)| indices) {
            planted.fates.entry(*index).or_insert(Fate::Alone);
        }
    }
}

/// Visits a file and finds the places of the mutants.
struct Gardener<'a> {
    text: &'a str,
    waiting: BTreeMap<(crate::catalogue::Place, crate::catalogue::Place), Vec<(usize, &'a Mutant)>>,
    beds: Vec<Bed>,
}

impl Gardener<'_> {
    /// Takes the mutants of these genres that replace exactly this span.
    fn take(&mut self, span: impl Into<Span>, genres: &[Genre]) -> Vec<(usize, String)> {
        let span: Span = span.into();
        let Some(found) = self.waiting.get_mut(&(span.start, span.end)) else { return Vec::new() };
        let (taken, left) = found.iter().partition(|(_, mutant)| genres.contains(&mutant.genre));
        *found = left;
        let taken: Vec<(usize, &Mutant)> = taken;
        taken.into_iter().map(|(index, mutant)| (index, mutant.replacement.clone())).collect()
    }

    fn make_bed(&mut self, range: Range<usize>, kind: Kind, alternatives: Vec<(usize, String)>) {
        if !alternatives.is_empty() {
            self.beds.push(Bed { range, alternatives, kind });
        }
    }

    /// The text of `whole`, with `part` replaced.
    fn with(&self, whole: &Range<usize>, part: Range<usize>, replacement: &str) -> String {
        let mut text = String::new();
        let (before, after) = (&self.text[whole.start..part.start], &self.text[part.end..whole.end]);
        write!(text, "{before}{replacement}{after}").expect("memory takes it");
        text
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let is_opaque = matches!(&signature.output, syn::ReturnType::Type(_, kind) if has_impl(kind));
        let (Some(first), Some(last)) = (block.stmts.first(), block.stmts.last()) else { return };
        if is_opaque || signature.constness.is_some() {
            return;
        }
        let span = Span { start: first.span().start().into(), end: last.span().end().into() };
        let replacements = self.take(span, &[Genre::FnValue]);
        let begin = block.brace_token.span.open().byte_range().end;
        self.make_bed(begin..begin, Kind::Return, replacements);
    }
}

fn has_impl(kind: &syn::Type) -> bool {
    struct Finds(bool);
    impl Visit<'_> for Finds {
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut finds = Finds(false);
    finds.visit_type(kind);
    finds.0
}

impl<'ast> Visit<'ast> for Gardener<'_> {
    // A constant is evaluated by the compiler, where no mutant can be enabled.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() {
            self.function(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() {
            self.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        // `if let … && …` is one construct: only its parts are expressions.
        if !has_let(&binary.left) && !has_let(&binary.right) {
            let (range, operator) = (binary.span().byte_range(), binary.op.span().byte_range());
            let found = self.take(binary.op.span(), &[Genre::BinaryOperator]);
            let alternatives = found
                .into_iter()
                .map(|(index, other)| (index, self.with(&range, operator.clone(), &other)))
                .collect();
            self.make_bed(range, Kind::Expression, alternatives);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let (range, operator) = (unary.span().byte_range(), unary.op.span().byte_range());
        let found = self.take(unary.op.span(), &[Genre::UnaryOperator]);
        let alternatives =
            found.into_iter().map(|(index, _)| (index, self.with(&range, operator.clone(), ""))).collect();
        self.make_bed(range, Kind::Expression, alternatives);
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, whole: &'ast syn::ExprMatch) {
        let is_catch_all = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        let has_catch_all = whole.arms.iter().any(is_catch_all);
        for arm in &whole.arms {
            if let Some((_, guard)) = &arm.guard {
                let found = self.take(guard.span(), &[Genre::MatchArmGuard]);
                self.make_bed(guard.span().byte_range(), Kind::Expression, found);
            } else if has_catch_all {
                let found = self.take(arm.span(), &[Genre::MatchArm]);
                let end = arm.pat.span().byte_range().end;
                self.make_bed(end..end, Kind::Guard, found);
            }
        }
        visit::visit_expr_match(self, whole);
    }

    fn visit_expr_struct(&mut self, whole: &'ast syn::ExprStruct) {
        let range = whole.span().byte_range();
        let mut alternatives = Vec::new();
        for pair in whole.fields.pairs() {
            let field = pair.value().span();
            let end = pair.punct().map_or(field.end(), |comma| comma.span().end());
            let span = Span { start: field.start().into(), end: end.into() };
            for (index, _) in self.take(span, &[Genre::StructField]) {
                let cut = span.start.offset(self.text)..span.end.offset(self.text);
                alternatives.push((index, self.with(&range, cut, "")));
            }
        }
        self.make_bed(range, Kind::Expression, alternatives);
        visit::visit_expr_struct(self, whole);
    }
}

fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}
