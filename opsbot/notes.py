"""What opsbot itself puts into the history a model reads: results of no call, by their id, with their introduction."""

# No call has such an id: `hearing` renames those that would.
THREAD = "note:thread"
POINTED_AT = "note:pointed_at"
EARLIER = "note:earlier"
TRANSCRIPT = "note:transcript"

INTRODUCTIONS = {
    THREAD: "What people wrote in this thread before you were asked, collected by opsbot",
    POINTED_AT: "The message that is to be looked into; somebody else may have written it",
    EARLIER: "The earlier part of this conversation, summed up by opsbot",
    TRANSCRIPT: "To sum up",
}
