"""What goes over the wire about an analysis: the document that a worker writes, and those of a batch."""

from __future__ import annotations

from fastapi import Request
from pydantic import BaseModel, Field

from app.api.batch_schemas import EntryLinksModel, EntryPageLinksModel, batch_path
from app.api.schemas import DegradationModel, JobErrorModel
from app.jobs.batch import Batch


class ScoresModel(BaseModel):
    """Two figures of the photo that need no clean one beside it; neither is a judgement of quality by itself."""

    blur: float = Field(
        ge=0,
        le=1,
        description="Perceptual blur (Crété-Roffet et al. 2007): 0 sharp, 1 blurred. Takes noise for sharpness.",
    )
    noise: float = Field(
        ge=0,
        description="Standard deviation of the noise in 1/255 (Immerkær 1996). Takes fine texture for noise.",
    )


class SuggestionModel(BaseModel):
    """What to ask `POST /restore` for."""

    restore: bool = Field(description="Whether any damage was found.")
    quality: str = Field(description="`quality` to ask for: balanced, or fast where nothing was found.")
    steps: int = Field(description="Steps that this quality will take for this photo.")


class EstimateModel(BaseModel):
    """What one quality takes."""

    quality: str
    steps: int
    seconds: float | None = Field(description="Seconds of the network's work; null when nothing was measured yet.")


class AnalysisModel(BaseModel):
    """What a photo shows, what is wrong with it, and what restoring it would take."""

    model: str = Field(description="Name of the model that looked at it.")
    width: int = Field(description="Width in pixels, orientation applied.")
    height: int = Field(description="Height in pixels, orientation applied.")
    caption: str | None = Field(description="What it shows; null where the model writes no captions.")
    degradations: list[DegradationModel] = Field(description="Every kind of damage, in fixed order.")
    scores: ScoresModel
    suggestion: SuggestionModel
    estimated_s: float | None = Field(
        description=(
            "Seconds of the network's work at the suggested quality: tiles times steps times the time per tile that "
            "this worker measured last. Waiting, decoding and encoding come on top. Null when nothing was measured yet."
        )
    )
    estimates: list[EstimateModel] = Field(description="The same for every quality.")


class EntryAnalysisModel(BaseModel):
    """What is known of one photo of a batch."""

    index: int = Field(description="Its place among those that were sent, from 0.")
    state: str = Field(description="As in the entries of the batch.")
    job: str | None = Field(description="Id of its job.")
    analysis: AnalysisModel | None = Field(description="Null until it has succeeded, and for photos to be restored.")
    error: JobErrorModel | None = Field(description="Why there is none.")
    links: EntryLinksModel


class AnalysisPageModel(BaseModel):
    """Some photos of a batch, in order."""

    entries: list[EntryAnalysisModel]
    links: EntryPageLinksModel


def analyses_path(request: Request, batch: Batch, start: int, limit: int) -> str | None:
    """Give the path of the page after the one from `start` on, or None at the end."""
    end = start + limit
    path = f"{batch_path(request, batch.id)}/analyses?start={end}&limit={limit}"
    return path if end < len(batch.entries) else None
