"""Answers of an emulated engine in the spelling of ``/v1/responses``: items, and named events."""

from __future__ import annotations

from typing import Any

import msgspec

from baseload.gateway.emulated.answers import Head
from baseload.gateway.emulated.plan import Plan
from baseload.gateway.emulated.requests import Wanted


class ResponsesAnswer:
    """An answer of ``/v1/responses``: thinking, then a message or a function call."""

    def __init__(self, wanted: Wanted, plan: Plan, head: Head) -> None:
        self._wanted, self._plan, self._head = wanted, plan, head
        self._sent = 0
        self._shows_thinking = plan.thinking_tokens > 0 and wanted.show_thinking
        self._place = 1 if self._shows_thinking else 0
        number = head.number.encode()
        self._frames = {
            "response.reasoning_text.delta": b'"item_id":"rs_%s","output_index":0,"content_index":0'
            % number,
            "response.output_text.delta": b'"item_id":"msg_%s","output_index":%d,"content_index":0,'
            b'"logprobs":[]' % (number, self._place),
            "response.function_call_arguments.delta": b'"item_id":"fc_%s","output_index":%d'
            % (number, self._place),
        }

    def token(self, choice: int, number: int) -> bytes:  # noqa: ARG002
        """As ``Answer`` says."""
        plan, place = self._plan, number - 1
        parts = [self._opening()] if number == 1 else []
        if place < plan.thinking_tokens:
            if self._shows_thinking:
                piece = plan.thoughts.piece(place)
                parts.append(self._delta("response.reasoning_text.delta", piece))
                if number == plan.thinking_tokens:
                    parts.append(self._thought())
            return b"".join(parts)
        place -= plan.thinking_tokens
        if place == 0:
            parts.append(self._began())
        if plan.call is None:
            parts.append(self._delta("response.output_text.delta", plan.text.piece(place)))
        elif place:
            piece = plan.text.piece(place - 1)
            parts.append(self._delta("response.function_call_arguments.delta", piece))
        return b"".join(parts)

    def closing(self) -> bytes:
        """As ``Answer`` says."""
        parts = [self._ended()] if self._plan.shown_tokens > 0 else []
        # vLLM says completed whatever the response's own status is
        parts.append(self._event("response.completed", response=self._response(done=True)))
        return b"".join(parts)

    def whole(self) -> bytes:
        """As ``Answer`` says."""
        return msgspec.json.encode(self._response(done=True))

    def _delta(self, kind: str, piece: bytes) -> bytes:
        """The event of one token: the hot one."""
        name = kind.encode()
        self._sent += 1
        return b'event: %s\ndata: {"type":"%s",%s,"delta":"%s","sequence_number":%d}\n\n' % (
            name,
            name,
            self._frames[kind],
            piece,
            self._sent - 1,
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        body = msgspec.json.encode({"type": kind, "sequence_number": self._sent, **fields})
        self._sent += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), body)

    def _opening(self) -> bytes:
        bare = self._response(done=False)
        events = self._event("response.created", response=bare)
        events += self._event("response.in_progress", response=bare)
        if self._shows_thinking:
            item = {**self._thoughts(), "content": None, "status": "in_progress"}
            events += self._event("response.output_item.added", output_index=0, item=item)
        return events

    def _thought(self) -> bytes:
        """The thinking has ended."""
        item = self._thoughts()
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        text = item["content"][0]["text"]
        events = self._event("response.reasoning_text.done", **at, text=text)
        return events + self._event("response.output_item.done", output_index=0, item=item)

    def _began(self) -> bytes:
        """The message, or the call, begins."""
        item = self._item()
        empty: dict[str, Any] = (
            {"arguments": ""} if self._plan.call is not None else {"content": []}
        )
        item = {**item, **empty, "status": "in_progress"}
        events = self._event("response.output_item.added", output_index=self._place, item=item)
        if self._plan.call is None:
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            events += self._event("response.content_part.added", **self._at(), part=part)
        return events

    def _ended(self) -> bytes:
        """The message, or the call, has ended."""
        item = self._item()
        if self._plan.call is not None:
            at = {"item_id": item["id"], "output_index": self._place}
            events = self._event(
                "response.function_call_arguments.done",
                **at,
                name=item["name"],
                arguments=item["arguments"],
            )
        else:
            part = item["content"][0]
            events = self._event(
                "response.output_text.done", **self._at(), text=part["text"], logprobs=[]
            )
            events += self._event("response.content_part.done", **self._at(), part=part)
        return events + self._event(
            "response.output_item.done", output_index=self._place, item=item
        )

    def _at(self) -> dict[str, Any]:
        item = f"msg_{self._head.number}"
        return {"item_id": item, "output_index": self._place, "content_index": 0}

    def _thoughts(self) -> dict[str, Any]:
        text = _unquoted(self._plan.thoughts.whole(self._plan.thinking_tokens))
        return {
            "type": "reasoning",
            "id": f"rs_{self._head.number}",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": text}],
            "status": None,
        }

    def _item(self) -> dict[str, Any]:
        plan, number = self._plan, self._head.number
        if plan.call is not None:
            return {
                "type": "function_call",
                "id": f"fc_{number}",
                "call_id": f"call_{number}",
                "name": plan.call,
                "arguments": _unquoted(plan.text.whole(plan.shown_tokens - 1)),
                "status": "completed",
            }
        text = _unquoted(plan.text.whole(plan.shown_tokens))
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {
            "type": "message",
            "id": f"msg_{number}",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _response(self, *, done: bool) -> dict[str, Any]:
        plan, wanted = self._plan, self._wanted
        cut = done and plan.finish == "length"
        output = [self._thoughts()] if self._shows_thinking else []
        if plan.shown_tokens > 0:
            output.append(self._item())
        status = "in_progress" if not done else "incomplete" if cut else "completed"
        return {
            "id": f"resp_{self._head.number}",
            "object": "response",
            "created_at": self._head.created,
            "model": self._head.model,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "instructions": None,
            "metadata": None,
            "output": output if done else [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "top_p": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "max_output_tokens": wanted.max_tokens,
            "usage": self._usage() if done else None,
        }

    def _usage(self) -> dict[str, Any]:
        prompt, plan = sum(self._wanted.prompt_tokens), self._plan
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": plan.tokens,
            "output_tokens_details": {"reasoning_tokens": plan.thinking_tokens},
            "total_tokens": prompt + plan.tokens,
        }


def _unquoted(inner: bytes) -> str:
    """What stands inside a JSON string."""
    text: str = msgspec.json.decode(b'"%s"' % inner)
    return text
