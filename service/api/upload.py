"""Read the images and options of a request, from a multipart form or a raw body, in memory only."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.api.context import AppContext
from service.api.options import listed, plain_names
from service.errors import BadRequest, ClientGone, InvalidParameter, UnsupportedEncoding
from service.telemetry.request_record import stage

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILES = ("image", "reference", "mask")
MAX_FIELD_BYTES = 1024
_FILE_NAMES = listed(FILES, "and")


@dataclass(frozen=True, slots=True)
class Upload:
    """The images and options of a request.

    Attributes:
        image: The image file.
        reference: A clean image file to compare with, or None.
        mask: An image file that says where to denoise, or None.
        fields: Options of the query and the form together.
    """

    image: bytes
    reference: bytes | None
    mask: bytes | None
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class RawUpload:
    """A request as it came.

    Attributes:
        body: The whole body.
        content_type: The Content-Type header.
        query: Options of the query, in order.
        max_parts: Maximum number of parts in a form.
    """

    body: bytes
    content_type: str
    query: tuple[tuple[str, str], ...]
    max_parts: int

    def parse(self) -> Upload:
        """Split the body into its parts. A body that is not a form is the image, whatever its content type.

        Raises:
            BadRequest: If the form is malformed, has no boundary or too many parts, there is no image, or a file is empty.
            InvalidParameter: If an option or a file is given twice.
        """
        media_type, parameters = parse_options_header(self.content_type)
        files: list[tuple[str, bytes]] = [("image", self.body)] if self.body else []
        options = list(self.query)
        if media_type == b"multipart/form-data":
            boundary = parameters.get(b"boundary")
            if not boundary:
                raise BadRequest("The Content-Type of a form needs a boundary.")
            parts = read_form(self.body, boundary, self.max_parts)
            files = [part for part in parts if part[0] in FILES]
            try:
                options += [(name, data.decode()) for name, data in parts if name not in FILES]
            except UnicodeDecodeError:
                raise BadRequest(f"Form fields other than {_FILE_NAMES} must be UTF-8 text.") from None
        by_name, fields = dict(files), dict(options)
        if len(by_name) < len(files) or len(fields) < len(options):
            counts = Counter(name for name, _ in (*files, *options))
            twice = plain_names([name for name, count in counts.items() if count > 1])
            raise InvalidParameter("Give each option and file once, in the query or in the form.", parameters=twice)
        if not by_name.get("image"):
            raise BadRequest("Send the image as the body, or as the field image of a multipart form.")
        if empty := [name for name, data in files if not data]:
            raise BadRequest(f"The file {empty[0]} is empty.")
        return Upload(by_name["image"], by_name.get("reference"), by_name.get("mask"), fields)


async def read_body(request: Request, context: AppContext) -> RawUpload:
    """Receive the body.

    Raises:
        ClientGone: If the client hangs up.
        UnsupportedEncoding: If the body is compressed.
    """
    if any(coding.strip().lower() != "identity" for coding in request.headers.getlist("content-encoding")):
        raise UnsupportedEncoding("Send the body without Content-Encoding.")
    with stage(context.metrics, "read"):
        try:
            body = await request.body()
        except ClientDisconnect:
            raise ClientGone from None
    query = tuple(request.query_params.multi_items())
    return RawUpload(body, request.headers.get("content-type", ""), query, context.settings.max_form_fields)


def read_form(body: bytes, boundary: bytes, max_parts: int) -> list[tuple[str, bytes]]:
    """Split a multipart form into its named parts, in order, without the files that were not chosen.

    Raises:
        BadRequest: If it is malformed, has too many parts, or a field other than a file is too long.
    """
    reader = _FormReader(max_parts)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise BadRequest("The multipart form is malformed.") from None
    if not reader.ended:
        raise BadRequest("The multipart form is cut short.")
    return reader.parts


class _FormReader:
    def __init__(self, max_parts: int) -> None:
        self.parts: list[tuple[str, bytes]] = []
        self.ended = False
        self._max_parts = max_parts
        self._header = b""
        self._value = b""
        self._name = ""
        self._chosen = True
        self._data = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.part_begin,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_end": self.end,
        }

    def part_begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise BadRequest(f"The limit is {self._max_parts} parts in a form.")
        self._name, self._chosen, self._data = "", True, bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            parameters = parse_options_header(self._value)[1]
            self._name = parameters.get(b"name", b"").decode("utf-8", "replace")
            self._chosen = parameters.get(b"filename") != b""  # browsers send an empty part for a file that was not chosen
        self._header = self._value = b""

    def headers_finished(self) -> None:
        if not self._name:
            raise BadRequest("Every part of the form needs a name.")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name not in FILES and len(self._data) + end - start > MAX_FIELD_BYTES:
            raise BadRequest(f"The limit is {MAX_FIELD_BYTES} bytes in a field other than {_FILE_NAMES}.")
        self._data += data[start:end]

    def part_end(self) -> None:
        if self._chosen or self._data:
            self.parts.append((self._name, bytes(self._data)))

    def end(self) -> None:
        self.ended = True
