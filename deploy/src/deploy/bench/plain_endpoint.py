"""A plainly written FastAPI + aiokafka endpoint without de-duplication: what intake is measured against."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request
from pydantic import BaseModel


class Event(BaseModel):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: dict[str, Any]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(bootstrap_servers=os.environ["BENCH_KAFKA"], acks="all", enable_idempotence=True)
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def readyz() -> str:
    return "ok"


@app.post("/v1/events", status_code=202)
async def accept(event: Event, request: Request) -> dict[str, str]:
    await request.app.state.producer.send_and_wait(
        os.environ["BENCH_TOPIC"], event.model_dump_json().encode(), key=event.data["ticket_id"].encode()
    )
    return {"event_id": event.id}
