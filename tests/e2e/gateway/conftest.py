"""Gateways and engines that several files of tests share; started once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.e2e.gateway.parts import Emulated, Gateway

KEY = "sk-test-" + "k" * 40
POOR_KEY = "sk-test-" + "p" * 40


def config_of(plain: Emulated, thinking: Emulated, embedding: Emulated) -> dict:
    """A plain model on two engines, one that thinks, one that embeds, all emulated."""
    return {
        "models": [
            {"name": "small", "right_frac": {"default": 0.6}},
            {
                "name": "large",
                "upstream_name": "served-large",
                "efforts": ["none", "low", "medium", "high"],
                "default_effort": "medium",
                "budgets": {"low": 16, "medium": 48, "high": 96},
                "right_frac": {"none": 0.7, "low": 0.75, "medium": 0.8, "high": 0.82},
            },
            {"name": "embed", "endpoints": ["embeddings"]},
        ],
        "tiers": [
            {"name": "interactive", "ttft_s": 10, "right_usd": 0.01, "service_tiers": ["default"]},
            {"name": "bulk", "priority": 1, "bulk": True, "service_tiers": ["flex"]},
        ],
        "aliases": {"any": ["small", "large"]},
        "replicas": [
            {"model": "small", "engine": "vllm", "urls": plain.urls},
            {"model": "large", "engine": "vllm", "urls": thinking.urls},
            {"model": "embed", "engine": "vllm", "urls": embedding.urls},
        ],
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def plain(folder) -> Iterator[Emulated]:
    made = Emulated(folder, "small", replicas=2)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def thinking(folder) -> Iterator[Emulated]:
    made = Emulated(folder, "served-large", kind="h100-qwen3-8b")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def embedding(folder) -> Iterator[Emulated]:
    made = Emulated(folder, "embed", seed=3)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def gateway(folder, plain, thinking, embedding) -> Iterator[Gateway]:
    made = Gateway(folder, config_of(plain, thinking, embedding))
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.said()
