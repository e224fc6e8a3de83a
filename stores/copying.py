"""Arrow batches as the bytes that PostgreSQL's COPY … (FORMAT csv) reads."""

import io

import pyarrow as pa
import pyarrow.csv as pc

_OPTIONS = pc.WriteOptions(include_header=False, quoting_style="needed")


def csv_bytes(batch: pa.Table) -> bytes:
    """The batch as CSV without a header: NULL is an empty field, an empty text is `""`, times end in Z.

    PostgreSQL cannot hold a NUL character in a text, and JSON can: it becomes U+FFFD, so that one odd
    trade id does not stop the batch it came in.
    """
    sink = io.BytesIO()
    pc.write_csv(batch, sink, _OPTIONS)
    data = sink.getvalue()
    return data.replace(b"\0", b"\xef\xbf\xbd") if b"\0" in data else data
