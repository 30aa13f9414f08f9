"""The store of background jobs that the settings ask for."""

from service.jobs.memory_store import MemoryStore
from service.jobs.store import JobStore
from service.settings import Settings


def open_store(settings: Settings) -> JobStore:
    """Return the store; it connects to its server when it is used.

    Raises:
        ValueError: If the settings name a Redis server, but the client library is not installed.
    """
    if not settings.jobs_url:
        return MemoryStore(settings.jobs_bytes, settings.job_keep_seconds)
    try:
        from service.jobs.redis_store import RedisStore
    except ModuleNotFoundError:
        raise ValueError("Install the extra redis to keep background jobs in Redis: pip install 'n3denoise[redis]'.") from None
    return RedisStore(settings.jobs_url, settings.jobs_bytes, settings.job_keep_seconds)
