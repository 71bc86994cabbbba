use entente_protocols::identity::{IdentityKey, Ticket};
use entente_protocols::lookalike::buckets::candidates::{BucketEvaluator, PendingBuckets, ScoredBlock};
use entente_protocols::lookalike::buckets::owner::EvaluationSecret;
use entente_protocols::lookalike::candidates::{Awaiting, Evaluator, PendingBlock};
use entente_protocols::lookalike::owner::{KeyHolder, Offer};
use entente_protocols::secagg::pledge::EphemeralKey;
use entente_protocols::secagg::mask::MaskKeys;

fn debug<T: std::fmt::Debug>() {}

fn main() {
    debug::<IdentityKey>();
    debug::<Ticket>();
    debug::<EphemeralKey>();
    debug::<MaskKeys>();
    debug::<Awaiting>();
    debug::<Evaluator>();
    debug::<PendingBlock>();
    debug::<KeyHolder>();
    debug::<Offer>();
    debug::<EvaluationSecret>();
    debug::<BucketEvaluator>();
    debug::<ScoredBlock>();
    debug::<PendingBuckets>();
}
