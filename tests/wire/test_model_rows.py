"""What the SDK and servers were seen to do, row by row, each with the tests that hold the bot's answer to it."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAULTS, REQUESTS, RESPONSES = "test_model_faults", "test_model_requests", "test_model_responses"
DIALECTS, VISION, LLMOCK = "test_model_dialects", "test_vision", "test_model_llmock"
MEMORY, EDGES = "test_endpoint_memory", "../scenario/test_edges"

# Seen with openai-python 3.51 and the servers of November 2026: the behaviour, and (module, test) that prove ours.
ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "408, 409, 429, 5xx, connection errors": (
        (FAULTS, "test_a_passing_fault_is_tried_again"),
        (FAULTS, "test_three_tries_are_all_there_are"),
        (FAULTS, "test_tls_name_and_connection_faults_are_tried_three_times"),
        (FAULTS, "test_should_retry_says_the_service_itself"),
        (FAULTS, "test_the_service_says_how_long_to_wait"),
        (LLMOCK, "test_a_passing_fault_is_survived_as_llmock_wants_it"),
    ),
    "Retry-After longer than anybody waits": ((FAULTS, "test_a_long_wait_is_left_to_the_asker"),),
    "429 insufficient_quota": ((FAULTS, "test_an_empty_account_is_never_asked_twice"),),
    "no timeout set": (
        (FAULTS, "test_silence_before_the_headers_ends_in_time"),
        (FAULTS, "test_drops_that_never_end_meet_the_total_deadline"),
    ),
    "stream cut; stall": (
        (FAULTS, "test_after_the_first_word_nothing_is_tried_again"),
        (FAULTS, "test_silence_in_the_middle_ends_in_time"),
        (LLMOCK, "test_a_stream_broken_in_the_middle_never_counts"),
    ),
    "stream ends without finish_reason": (
        (FAULTS, "test_an_unfinished_answer_yields_no_call_and_is_tried_again"),
        (DIALECTS, "test_what_only_looks_like_an_answer_is_refused"),
    ),
    "the same on responses.stream": (
        (FAULTS, "test_an_endpoint_that_never_finishes_is_an_error_after_three_tries"),
        (RESPONSES, "test_an_item_that_was_never_called_complete_by_the_response_is_dropped"),
    ),
    "chunk that is not JSON": ((FAULTS, "test_an_unfinished_answer_yields_no_call_and_is_tried_again"),),
    "stream=True answered with plain JSON; no chunk": (
        (FAULTS, "test_an_unfinished_answer_yields_no_call_and_is_tried_again"),
    ),
    "error event inside a stream": (
        (FAULTS, "test_an_error_event_after_text_ends_the_answer"),
        (RESPONSES, "test_an_error_event_is_judged_by_its_code"),
    ),
    "200 with HTML": ((FAULTS, "test_a_web_page_is_not_an_api"),),
    "200 with other JSON": ((FAULTS, "test_an_unfinished_answer_yields_no_call_and_is_tried_again"),),
    "finish_reason length, content_filter": (
        (FAULTS, "test_a_cut_text_is_complete_with_its_reason"),
        (FAULTS, "test_calls_of_a_cut_answer_are_dropped_and_not_asked_for_again"),
    ),
    "strict tool with broken arguments": ((FAULTS, "test_malformed_arguments_come_through_unchanged"),),
    "parse() with tools that are not strict": (
        (REQUESTS, "test_only_schemas_of_the_strict_kind_are_declared_strict"),
        (REQUESTS, "test_a_refused_strict_schema_is_sent_without_strict"),
    ),
    "malformed arguments in create()": (
        (FAULTS, "test_malformed_arguments_come_through_unchanged"),
        (LLMOCK, "test_broken_arguments_arrive_as_they_are"),
        (DIALECTS, "test_what_only_looks_like_an_answer_is_refused"),
    ),
    "no key or empty key": ((REQUESTS, "test_a_keyless_server_gets_a_dummy_key"),),
    "max_retries=None": ((FAULTS, "test_three_tries_are_all_there_are"),),
    "context too long": (
        (FAULTS, "test_a_conversation_that_does_not_fit_has_its_own_error"),
        (EDGES, "test_a_history_that_does_not_fit_is_asked_once_more_with_its_older_turns_summed_up"),
        (EDGES, "test_a_single_message_that_does_not_fit_is_said_so"),
    ),
    "redirects": ((FAULTS, "test_a_redirect_is_not_followed"),),
    "tools rule of reasoning models on chat completions": (
        (REQUESTS, "test_on_chat_with_tools_the_newer_models_get_no_reasoning"),
        (REQUESTS, "test_the_tools_rule_is_learned_for_a_model_of_another_name"),
        (REQUESTS, "test_an_effort_refused_even_as_none_is_left_out"),
    ),
    "capability unlearning": (
        (REQUESTS, "test_a_refused_parameter_is_left_out_from_then_on"),
        (REQUESTS, "test_several_refusals_are_learned_within_one_call"),
        (REQUESTS, "test_an_unknown_role_becomes_system"),
        (REQUESTS, "test_a_server_that_takes_no_output_limit_at_all_gets_none"),
        (REQUESTS, "test_a_server_that_refuses_for_ever_is_given_up"),
        (VISION, "test_servers_that_take_no_pictures_are_recognised"),
        (MEMORY, "test_a_restart_does_not_ask_for_what_was_refused"),
        (MEMORY, "test_after_a_week_it_is_tried_again_also_by_a_process_that_runs_on"),
    ),
    "calls by index and id": (
        (REQUESTS, "test_a_reused_index_with_a_new_id_is_a_new_call"),
        (DIALECTS, "test_a_dialect_is_understood"),
    ),
    "salvage, only if switched on": (
        (REQUESTS, "test_a_call_written_as_text_stays_text_unless_salvage_is_on"),
        (REQUESTS, "test_salvage_turns_one_written_call_into_a_call"),
        (REQUESTS, "test_salvage_leaves_everything_else_as_text"),
    ),
    "encrypted reasoning": ((REQUESTS, "test_encrypted_reasoning_goes_back_with_its_message_and_in_its_place"),),
    "store is true by default": ((REQUESTS, "test_the_responses_body_is_stateless_and_carries_the_whole_history"),),
}
TESTS = sorted({test for tests in ROWS.values() for test in tests})


@pytest.mark.parametrize(("module", "test"), TESTS, ids=lambda each: str(each))
def test_the_test_of_a_row_is_there(module: str, test: str) -> None:
    text = (HERE / f"{module}.py").read_text(encoding="utf-8")
    assert re.search(rf"^(?:async )?def {test}\(", text, re.MULTILINE)


def test_every_row_has_a_test() -> None:
    assert [row for row, tests in ROWS.items() if not tests] == []
    assert len(ROWS) == 26
