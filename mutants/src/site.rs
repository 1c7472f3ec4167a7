//! Where in a file the mutants of a list take effect.

use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprIf, ExprMatch, ExprStruct, ExprUnary, ImplItemFn,
    ItemFn, Pat, ReturnType, Signature, TraitItemFn, Type, UnOp,
};

use crate::list::{Lines, Mutant};

/// What a mutant does at its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The expression is this one.
    Instead(String),
    /// The body returns this at once.
    Return(String),
    /// The arm without a guard matches nothing.
    Never,
    /// The iterator that the body returns has nothing.
    Empty,
}

/// A mutant at its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its number.
    pub id: usize,
    /// What it changes, in bytes; empty where something is inserted.
    pub range: Range<usize>,
    /// How.
    pub change: Change,
    /// It is part of a planted defect and does nothing where that is not switched on.
    pub planted: bool,
}

/// The sites of these mutants of one file; those that cannot be switched are missing.
pub fn sites(text: &str, mutants: &[(usize, &Mutant)]) -> syn::Result<Vec<Site>> {
    let lines = Lines::of(text);
    let mut open: Open<'_> = HashMap::new();
    for &(id, mutant) in mutants {
        let offset = |position| lines.offset(text, position);
        if let (Some(start), Some(end)) = (offset(mutant.span.start), offset(mutant.span.end)) {
            open.entry(start).or_default().push((id, mutant, start..end));
        }
    }
    let mut finder = Finder {
        text,
        open,
        bodies: Vec::new(),
        planted: false,
        covered: false,
        sites: Vec::new(),
    };
    finder.visit_file(&syn::parse_file(text)?);
    finder.returns();
    Ok(finder.sites)
}

/// Number, mutant and what it replaces.
type Open<'a> = HashMap<usize, Vec<(usize, &'a Mutant, Range<usize>)>>;

struct Finder<'a> {
    text: &'a str,
    /// By where they start.
    open: Open<'a>,
    /// Of functions; whether what they return is `impl Iterator`, or another trait.
    bodies: Vec<(Range<usize>, bool)>,
    /// Whether what is visited belongs to a defect.
    planted: bool,
    /// Whether the innermost `match` has an arm for everything: others may be missing.
    covered: bool,
    sites: Vec<Site>,
}

fn range(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

impl Finder<'_> {
    /// Settles those of a genre that start here.
    fn settle(&mut self, genre: &str, start: usize, site: impl Fn(&str) -> (Range<usize>, Change)) {
        for (id, mutant, _) in self.open.get(&start).into_iter().flatten() {
            if mutant.genre == genre {
                let (range, change) = site(&mutant.replacement);
                self.sites.push(Site { id: *id, range, change, planted: self.planted });
            }
        }
    }

    /// Visits what only a planted defect evaluates, if it is that.
    fn under<T>(&mut self, planted: bool, visit: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.planted;
        self.planted |= planted;
        let result = visit(self);
        self.planted = before;
        result
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let opaque = matches!(&signature.output, ReturnType::Type(_, output) if matches!(**output, Type::ImplTrait(_)));
        self.bodies.push((range(block), opaque));
    }

    /// Those that replace a body, by the innermost body that has them.
    fn returns(&mut self) {
        let values =
            self.open.values().flatten().filter(|(_, mutant, _)| mutant.genre == "FnValue");
        let sites = values.filter_map(|(id, mutant, span)| {
            let has = |(body, _): &&(Range<usize>, bool)| {
                body.start <= span.start && span.end <= body.end
            };
            let (body, opaque) =
                self.bodies.iter().filter(has).min_by_key(|(body, _)| body.len())?;
            let inside = body.start + 1..body.end - 1;
            let (range, change) = match (opaque, &*mutant.replacement) {
                (false, value) => (inside.start..inside.start, Change::Return(value.to_owned())),
                // It must be of the same type as what the body returns.
                (true, "::std::iter::empty()") => (inside, Change::Empty),
                (true, _) => return None,
            };
            Some(Site { id: *id, range, change, planted: false })
        });
        let sites: Vec<Site> = sites.collect();
        self.sites.extend(sites);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, expr: &'ast ExprBinary) {
        let text = self.text;
        // What chains `let` cannot be wrapped, and has no other operator either.
        if !chains_let(&expr.left) && !chains_let(&expr.right) {
            let (left, right) = (&text[range(&expr.left)], &text[range(&expr.right)]);
            // Between two that are both false without defects, or both true, it does nothing.
            let both = |ask: fn(&Expr) -> bool| ask(&expr.left) && ask(&expr.right);
            self.under(both(plants) || both(spares), |finder| {
                finder.settle("BinaryOperator", range(&expr.op).start, |operator| {
                    (range(expr), Change::Instead(format!("{left} {operator} {right}")))
                });
            });
        }
        let planted = match expr.op {
            BinOp::And(_) => plants(&expr.left),
            BinOp::Or(_) => spares(&expr.left),
            _ => false,
        };
        self.visit_expr(&expr.left);
        self.under(planted, |finder| finder.visit_expr(&expr.right));
    }

    fn visit_expr_if(&mut self, expr: &'ast ExprIf) {
        self.visit_expr(&expr.cond);
        self.under(plants(&expr.cond), |finder| finder.visit_block(&expr.then_branch));
        if let Some((_, otherwise)) = &expr.else_branch {
            self.under(spares(&expr.cond), |finder| finder.visit_expr(otherwise));
        }
    }

    fn visit_expr_unary(&mut self, expr: &'ast ExprUnary) {
        let operand = &self.text[range(&expr.expr)];
        self.settle("UnaryOperator", range(&expr.op).start, |operator| {
            (range(expr), Change::Instead(format!("{operator}{operand}")))
        });
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        self.visit_expr(&expr.expr);
        let all = |arm: &Arm| arm.guard.is_none() && catches_all(&arm.pat);
        let before = std::mem::replace(&mut self.covered, expr.arms.iter().any(all));
        expr.arms.iter().for_each(|arm| self.visit_arm(arm));
        self.covered = before;
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        let guarded = arm.guard.as_ref().map(|(_, guard)| &**guard);
        let guard = guarded.map(range);
        let end = range(&arm.pat).end;
        match &guard {
            Some(guard) => self.settle("MatchArm", range(arm).start, |_| {
                (guard.clone(), Change::Instead("false".to_owned()))
            }),
            None if self.covered => {
                self.settle("MatchArm", range(arm).start, |_| (end..end, Change::Never));
            }
            None => {}
        }
        if let Some(guard) = &guard {
            self.settle("MatchArmGuard", guard.start, |replacement| {
                (guard.clone(), Change::Instead(replacement.to_owned()))
            });
        }
        let planted = guarded.is_some_and(plants);
        if let Some(guard) = guarded {
            self.visit_expr(guard);
        }
        self.under(planted, |finder| finder.visit_expr(&arm.body));
    }

    fn visit_expr_struct(&mut self, expr: &'ast ExprStruct) {
        if let Some(rest) = &expr.rest {
            let rest = &self.text[range(rest)];
            for field in expr.fields.iter().filter(|field| field.colon_token.is_some()) {
                let name = &self.text[range(&field.member)];
                self.settle("StructField", range(field).start, |_| {
                    (range(&field.expr), Change::Instead(format!("({rest}).{name}")))
                });
            }
        }
        visit::visit_expr_struct(self, expr);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.body(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.body(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.body(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn catches_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        // A name in lower case is a new one, not that of a constant or variant.
        Pat::Ident(name) => {
            name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase)
        }
        _ => false,
    }
}

fn chains_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => chains_let(&binary.left) || chains_let(&binary.right),
        _ => false,
    }
}

/// Whether it asks for a defect, and is false without.
fn plants(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(paren) => plants(&paren.expr),
        Expr::MethodCall(call) => {
            let of_defect =
                |path: &syn::Path| path.segments.first().is_some_and(|s| s.ident == "Defect");
            call.method == "has"
                && matches!(call.args.first(), Some(Expr::Path(arg)) if of_defect(&arg.path))
        }
        Expr::Binary(both) => match both.op {
            BinOp::And(_) => plants(&both.left) || plants(&both.right),
            BinOp::Or(_) => plants(&both.left) && plants(&both.right),
            _ => false,
        },
        Expr::Unary(not) => matches!(not.op, UnOp::Not(_)) && spares(&not.expr),
        _ => false,
    }
}

/// Whether it asks for the absence of defects, and is true without.
fn spares(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(paren) => spares(&paren.expr),
        Expr::Binary(both) => match both.op {
            BinOp::And(_) => spares(&both.left) && spares(&both.right),
            BinOp::Or(_) => spares(&both.left) || spares(&both.right),
            _ => false,
        },
        Expr::Unary(not) => matches!(not.op, UnOp::Not(_)) && plants(&not.expr),
        _ => false,
    }
}
