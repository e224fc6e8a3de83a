"""Arrow batches as the bytes that PostgreSQL's COPY … (FORMAT csv) reads."""

import io

import pyarrow as pa
import pyarrow.csv as pc

_OPTIONS = pc.WriteOptions(include_header=False, quoting_style="needed")


def csv_bytes(batch: pa.Table) -> bytes:
    """The batch as CSV without a header: NULL is an empty field, an empty text is `""`, times end in Z, bytes are hex.

    PostgreSQL cannot hold a NUL character in a text, and JSON can: it becomes U+FFFD, so that one odd
    trade id does not stop the batch it came in.
    """
    sink = io.BytesIO()
    pc.write_csv(_without_empty_chunks(_without_binary(batch)), sink, _OPTIONS)
    data = sink.getvalue()
    return data.replace(b"\0", b"\xef\xbf\xbd") if b"\0" in data else data


def _without_binary(batch: pa.Table) -> pa.Table:
    """Bytes as the hex text that a bytea is read from."""
    for at, field in enumerate(batch.schema):
        if pa.types.is_binary(field.type):
            hexed = [None if value is None else f"\\x{value.hex()}" for value in batch.column(at).to_pylist()]
            batch = batch.set_column(at, field.name, pa.array(hexed, pa.string()))
    return batch


def _without_empty_chunks(batch: pa.Table) -> pa.Table:
    """The same rows. Behind an empty chunk, `write_csv` of pyarrow 26 begins with memory that is not of the table."""
    return pa.Table.from_batches([part for part in batch.to_batches() if part.num_rows], batch.schema)
