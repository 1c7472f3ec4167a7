//! Written once, compiled twice: `async fn` for a machine with other tasks on it, and a plain twin
//! for an operation that is alone.
//!
//! A coroutine keeps its locals in memory and finds its place again at every level whenever it is
//! polled. An operation that is alone on the machine never stops and needs none of that.

use proc_macro::TokenStream;
use proc_macro2::TokenTree;
use quote::{ToTokens, format_ident};
use syn::visit_mut::{VisitMut, visit_block_mut, visit_expr_mut};
use syn::{
    Block, Error, Expr, ImplItem, ImplItemFn, Item, ItemImpl, Macro, ReturnType, Stmt, Type,
    parse_macro_input, parse_quote,
};

/// Types of futures that functions return which are not `async` themselves. Each has a method
/// `alone`, which is to it what a twin is to its `async fn`.
const FUTURES: [&str; 3] = ["Point", "Stop", "Taking"];

/// Attributes that twins have too.
const KEPT: [&str; 5] = ["cfg", "cold", "doc", "inline", "track_caller"];

/// On an `impl` block: each function `f` that is awaited, `async` or returning a future of the
/// machine, gets a twin `f_alone`, which returns `Some` of what `f` would at the end, and `None` where
/// `f` would have to wait. In the twin of an `async fn` every `x.g(…).await` is `x.g_alone(…)?`.
///
/// Statements that only record what happens, `self.…mark(…);`, are left out of twins: nobody looks.
///
/// What is inside another macro stays as it is: `.await`, `?` and `return` are refused there.
#[proc_macro_attribute]
pub fn twice(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut block = parse_macro_input!(item as ItemImpl);
    let twins: Result<Vec<_>, Error> = block.items.iter().filter_map(twin).collect();
    match twins {
        Ok(twins) => block.items.extend(twins),
        Err(error) => return error.into_compile_error().into(),
    }
    block.into_token_stream().into()
}

fn twin(item: &ImplItem) -> Option<Result<ImplItem, Error>> {
    let ImplItem::Fn(original) = item else { return None };
    let ImplItemFn { mut attrs, vis, defaultness, mut sig, mut block } = original.clone();
    let output: Type = match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, output) => (**output).clone(),
    };
    if sig.asyncness.take().is_some() {
        let mut alone = Alone { option: is_one_of(&output, &["Option"]), error: None };
        alone.visit_block_mut(&mut block);
        if let Some(error) = alone.error {
            return Some(Err(error));
        }
        block = parse_quote!({ Some(#block) });
        sig.output = parse_quote!(-> Option<#output>);
    } else if is_one_of(&output, &FUTURES) {
        block = parse_quote!({ #block.alone() });
        sig.output = parse_quote!(-> Option<()>);
    } else {
        return None;
    }
    sig.ident = format_ident!("{}_alone", sig.ident);
    attrs.retain(|attr| KEPT.iter().any(|kept| attr.path().is_ident(kept)));
    attrs.push(parse_quote! {
        #[allow(
            dead_code,
            unreachable_code,
            unused_parens,
            unused_variables,
            clippy::all,
            reason = "the lints look at the original"
        )]
    });
    Some(Ok(ImplItem::Fn(ImplItemFn { attrs, vis, defaultness, sig, block })))
}

fn is_one_of(output: &Type, names: &[&str]) -> bool {
    let Type::Path(path) = output else { return false };
    path.path.segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// What a future comes to that needs no waker.
fn poll_once(future: &impl ToTokens) -> Expr {
    parse_quote! {
        (match ::core::future::Future::poll(
            ::core::pin::pin!(#future),
            &mut ::core::task::Context::from_waker(::core::task::Waker::noop()),
        ) {
            ::core::task::Poll::Ready(value) => value,
            ::core::task::Poll::Pending => return None,
        })
    }
}

/// Turns the body of an `async fn` into that of its twin.
struct Alone {
    /// The `async fn` returns an `Option`, where it has a `?`; else a `Result`.
    option: bool,
    error: Option<Error>,
}

/// A statement that records a mark.
fn is_mark(statement: &Stmt) -> bool {
    let Stmt::Expr(Expr::MethodCall(call), Some(_)) = statement else { return false };
    let Expr::Path(receiver) = &*call.receiver else { return false };
    receiver.path.is_ident("self") && call.method.to_string().ends_with("mark")
}

impl VisitMut for Alone {
    fn visit_block_mut(&mut self, block: &mut Block) {
        block.stmts.retain(|statement| !is_mark(statement));
        visit_block_mut(self, block);
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        // What returns from elsewhere stays as it is.
        if matches!(expr, Expr::Closure(_) | Expr::Async(_)) {
            return;
        }
        visit_expr_mut(self, expr);
        *expr = match expr {
            Expr::Await(awaited) => match &mut *awaited.base {
                Expr::MethodCall(call) => {
                    call.method = format_ident!("{}_alone", call.method);
                    parse_quote!(#call?)
                }
                future => poll_once(future),
            },
            Expr::Try(tried) => {
                let result = &tried.expr;
                if self.option {
                    parse_quote!((match #result {
                        Some(value) => value,
                        None => return Some(None),
                    }))
                } else {
                    parse_quote!((match #result {
                        Ok(value) => value,
                        Err(error) => return Some(Err(From::from(error))),
                    }))
                }
            }
            Expr::Return(returned) => {
                let value = returned.expr.take().unwrap_or_else(|| parse_quote!(()));
                parse_quote!(return Some(#value))
            }
            _ => return,
        };
    }

    fn visit_item_mut(&mut self, _: &mut Item) {}

    fn visit_macro_mut(&mut self, called: &mut Macro) {
        if leaves(called.tokens.clone()) {
            let error = Error::new_spanned(called, "`.await`, `?` or `return` inside a macro");
            self.error.get_or_insert(error);
        }
    }
}

fn leaves(tokens: proc_macro2::TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => leaves(group.stream()),
        TokenTree::Ident(ident) => ident == "await" || ident == "return",
        TokenTree::Punct(punct) => punct.as_char() == '?',
        TokenTree::Literal(_) => false,
    })
}
