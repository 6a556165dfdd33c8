"""``Model``: a trained encoder with its tokenizer and heads, and what can be asked of it."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from electra_jax.config.machines import MeshConfig
from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.generation.written import Generation
from electra_jax.inference import (
    chatting,
    detecting,
    filling,
    indexing,
    prompts,
    rankers,
    refining,
    reviewing,
    scoring,
    searching,
    vectors,
    writing,
)
from electra_jax.inference.batch_shapes import ROWS_PER_DEVICE, batch_size_over, inference_buckets
from electra_jax.inference.chatting import Conversation, ReplySettings
from electra_jax.inference.choosing import Candidates
from electra_jax.inference.detecting import Token
from electra_jax.inference.filling import Filling
from electra_jax.inference.items import (
    as_items,
    choice_of,
    full_candidates_of,
    pair_of,
    text_or_pair,
    words_of,
)
from electra_jax.inference.refining import Refinement
from electra_jax.inference.replying import Marks
from electra_jax.inference.reranking import Reranker
from electra_jax.inference.reviewing import SuspiciousWord
from electra_jax.inference.searching import Index
from electra_jax.model.pooling import Pooling
from electra_jax.model.text_encoder import TextEncoder
from electra_jax.objectives import build_network
from electra_jax.partitioning.axes import parameter_specs
from electra_jax.partitioning.mesh import batch_sharding, make_mesh
from electra_jax.retrieval.index import CandidateIndex
from electra_jax.runtime.compilation_cache import use_compilation_cache
from electra_jax.scoring.methods import ScoreMethod
from electra_jax.tasks.batches import usable_buckets
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import predict_rows
from electra_jax.tasks.protocol import (
    ChoiceExample,
    QuestionExample,
    RankingExample,
    Rows,
    Task,
    TextExample,
    WordsExample,
)
from electra_jax.tasks.text_rows import check_token_types
from electra_jax.tokenizers import Tokenizer
from electra_jax.training.compile_messages import WithCompileMessage

Text = str | tuple[str, str]  # or a pair


class Model:
    """A trained encoder with its tokenizer and heads.

    Every method takes a list and returns a list in the same order. A single item that is not in a list gives a single
    result: a string, or a tuple for a pair, a question with its context, or the words of a sentence.

    Texts are batched by length, over all devices there are. Contexts of questions and sentences to tag are read in
    overlapping windows; other texts are cut at ``max_length``: results then have ``truncated``, or where they have no
    room for it there is a warning.

    Attributes:
        config: that it was trained with.
        tokenizer: its tokenizer.
        tasks: those it was fine-tuned on, by name.
        max_length: of a row, in tokens.
    """

    def __init__(
        self,
        config: Config,
        tokenizer: Tokenizer,
        params: Mapping[str, Any],
        tasks: Mapping[str, Task],
        origin: str = "memory",
    ):
        if jax.process_count() > 1:
            raise UserError(
                f"{origin}: a model is used on one host, and this is one of {jax.process_count()}: take a machine that "
                "is not part of several"
            )
        self._origin = origin
        self.config, self.tokenizer, self.tasks = config, tokenizer, dict(tasks)
        self.max_length = config.data.sequence_length if tasks else config.model.max_positions
        self._mesh: Mesh = make_mesh(MeshConfig())
        use_compilation_cache(config.compute, config.data, self._mesh.devices.flat[0].platform)
        # The attention it was trained with may not run on this device, or not with rows as long as are read here.
        compute = config.compute.model_copy(update={"attention": "auto"})
        longest = max(config.data.sequence_length, self.max_length)
        data = config.data.model_copy(update={"sequence_length": longest})
        self._network: TextEncoder = build_network(
            config.model_copy(update={"compute": compute, "data": data}), tokenizer.vocab_size
        )
        specs: Any = parameter_specs(params, self._mesh)
        self._params = jax.tree.map(
            lambda array, spec: jax.device_put(array, NamedSharding(self._mesh, spec)), dict(params), specs
        )
        self._steps: dict[str, Callable[..., Any]] = {}
        self._writing: dict[str, Any] = {}  # placements of `writing_programs`
        self._searcher: Any = None  # of the last index, by `searching`
        self._fingerprints: dict[str, str] = {}

    def __repr__(self) -> str:
        """Show kind, sizes, vocabulary and origin."""
        sizes = self.config.model
        if self.tasks:
            kind = "fine-tuned on " + ", ".join(f"{name} ({task.kind})" for name, task in self.tasks.items())
        else:
            has_head = not {"discriminator_head", "generator_head"}.isdisjoint(self._params)
            kind = "pre-trained" if has_head else "pre-trained, without its head"
        parameters = sum(leaf.size for leaf in jax.tree.leaves(self._params))
        return (
            f"<Model {kind}: {sizes.num_layers} layers of {sizes.hidden_size}, {parameters:,} parameters, "
            f"{self.tokenizer.kind} vocabulary of {self.tokenizer.vocab_size:,}, up to {self.max_length} tokens; "
            f"from {self._origin}>"
        )

    @overload
    def classify(self, texts: Text, task: str | None = None) -> dict[str, Any]: ...  # type: ignore[overload-overlap]
    @overload
    def classify(self, texts: Iterable[Text], task: str | None = None) -> list[dict[str, Any]]: ...
    def classify(self, texts: Any, task: str | None = None) -> Any:
        """Classify each text or (text, text): label and probabilities, or the value for regression.

        >>> answer = model.classify("Who wrote Hamlet?")
        >>> answer["label"] in answer["probabilities"]
        True
        >>> len(model.classify(["Who wrote Hamlet?", ("He left.", "He went away.")]))
        2

        Args:
            texts: a list of texts and pairs, or one.
            task: its name, if the model has several.

        Returns:
            ``label``, ``probability`` and ``probabilities`` of each; with multi_label ``labels`` and ``probabilities``;
            for regression ``value``; ``truncated`` where the text was cut.

        Raises:
            UserError: the model has no such task; something that is not a text.
        """
        items, one = as_items(texts, "classify", "a text or a pair of texts")
        examples = [
            TextExample(str(i), *text_or_pair(text, f"classify: item {i}")) for i, text in enumerate(items)
        ]
        return _unwrap_single(self._predict(examples, task, ("classification", "regression")), one)

    @overload
    def classify_zero_shot(self, texts: str, labels: Sequence[str], template: str) -> dict[str, Any]: ...  # type: ignore[overload-overlap]
    @overload
    def classify_zero_shot(
        self, texts: Iterable[str], labels: Sequence[str], template: str
    ) -> list[dict[str, Any]]: ...
    def classify_zero_shot(self, texts: Any, labels: Sequence[str], template: str) -> Any:
        """Classify each text by which label looks least replaced in a prompt; nothing is fine-tuned.

        >>> answer = pretrained.classify_zero_shot("Ann left.", ["Ann", "Bob"], "{text} {label} did.")
        >>> answer["label"] in answer["scores"]
        True

        Args:
            texts: a list of texts, or one.
            labels: words that stand in the prompt, two or more.
            template: the prompt, with ``{text}`` and ``{label}`` in it. A text that does not fit is cut at its end.

        Returns:
            ``label``, the one with the largest score, and ``scores`` of each: of every label the discriminator's mean
            log(1 - p replaced) over its tokens; ``truncated`` where the text was cut.

        Raises:
            UserError: the model lacks the discriminator's head; labels or a template that do not fit; something that is
                not a text.
        """
        return prompts.classify_zero_shot(self, texts, labels, template)

    @overload
    def tag(self, sentences: str | tuple[str, ...], task: str | None = None) -> dict[str, Any]: ...  # type: ignore[overload-overlap]
    @overload
    def tag(
        self, sentences: Iterable[str | Sequence[str]], task: str | None = None
    ) -> list[dict[str, Any]]: ...
    def tag(self, sentences: Any, task: str | None = None) -> Any:
        """Tag each sentence, given as words or as a string to split at white space, and find its entities.

        >>> model.tag("Ann left")["words"]
        ['Ann', 'left']
        >>> [len(answer["tags"]) for answer in model.tag([["Ann", "left"], "Bob"])]
        [2, 1]

        Args:
            sentences: a list of sentences, or one: a string, or a tuple of words.
            task: its name, if the model has several.

        Returns:
            ``words``, ``tags`` and ``probabilities`` of each, and for spans ``entities``.

        Raises:
            UserError: the model has no such task; something that is not a sentence.
        """
        items, one = as_items(sentences, "tag", "a sentence or a list of words")
        examples = [
            WordsExample(str(i), words_of(sentence, f"tag: item {i}")) for i, sentence in enumerate(items)
        ]
        return _unwrap_single(self._predict(examples, task, ("tagging",)), one)

    def answer(self, question: str, context: str, task: str | None = None) -> dict[str, Any]:
        """Answer a question from a context; "" means there is no answer.

        >>> model.answer("Who left?", "Ann left.")["answer"] in "Ann left."
        True

        Args:
            question: the question.
            context: the text that has the answer.
            task: its name, if the model has several.

        Raises:
            UserError: the model has no such task; something that is not a text.
        """
        return self.answer_all([(question, context)], task)[0]

    @overload
    def answer_all(self, questions: tuple[str, str], task: str | None = None) -> dict[str, Any]: ...
    @overload
    def answer_all(
        self, questions: Iterable[tuple[str, str]], task: str | None = None
    ) -> list[dict[str, Any]]: ...
    def answer_all(self, questions: Any, task: str | None = None) -> Any:
        """Answer many (question, context), as `answer` does one.

        >>> len(model.answer_all([("Who left?", "Ann left."), ("Who?", "Bob did.")]))
        2

        Args:
            questions: a list of them, or one.
            task: its name, if the model has several.

        Returns:
            ``answer``, its ``start`` and ``end`` in the context, and more for each; ``truncated`` where the question
            (not its context) was cut.

        Raises:
            UserError: the model has no such task; something that is not a question with its context.
        """
        items, one = as_items(questions, "answer_all", "a question with its context")
        examples = [
            QuestionExample(str(i), *pair_of(pair, f"answer_all: item {i}"), hidden=True)
            for i, pair in enumerate(items)
        ]
        return _unwrap_single(self._predict(examples, task, ("question_answering",)), one)

    def choose(
        self, context: str, options: Sequence[str], question: str = "", task: str | None = None
    ) -> dict[str, Any]:
        """Choose one of several options after a context, such as a reply in a dialogue.

        >>> model.choose("Ann left.", ["Who left?", "He went away."])["label"] in (0, 1)
        True

        Args:
            context: the text before the options.
            options: two or more.
            question: put before each option, where there is one.
            task: its name, if the model has several.

        Raises:
            UserError: the model has no such task; something that is not a text, fewer than two options.
        """
        return self.choose_all([(context, options, question)], task)[0]

    @overload
    def choose_all(self, choices: tuple[Any, ...], task: str | None = None) -> dict[str, Any]: ...
    @overload
    def choose_all(
        self, choices: Iterable[tuple[Any, ...]], task: str | None = None
    ) -> list[dict[str, Any]]: ...
    def choose_all(self, choices: Any, task: str | None = None) -> Any:
        """Choose for many (context, options) or (context, options, question), as `choose` does for one.

        >>> [len(answer["probabilities"]) for answer in model.choose_all([("Ann left.", ["Who?", "He.", "Bob."])])]
        [3]

        Args:
            choices: a list of them, or one.
            task: its name, if the model has several.

        Returns:
            ``label`` (the number of an option, from 0), ``option``, its ``probability`` and all ``probabilities`` of
            each; ``truncated`` where something was cut.

        Raises:
            UserError: the model has no such task; something that is not a context with options.
        """
        items, one = as_items(choices, "choose_all", "a context with its options")
        examples = [
            ChoiceExample(str(i), *choice_of(choice, f"choose_all: item {i}"))
            for i, choice in enumerate(items)
        ]
        return _unwrap_single(self._predict(examples, task, ("multiple_choice",)), one)

    def rank(self, context: str, candidates: Sequence[str], task: str | None = None) -> list[dict[str, Any]]:
        """Return candidates after a context, the best first.

        Args:
            context: the text before the candidates, or that they are compared with.
            candidates: one or more.
            task: its name, if the model has several.

        Returns:
            ``candidate``, its ``number`` among those given, from 0, and its ``score``, of each.

        Raises:
            UserError: the model has no such task; something that is not a text, no candidates.
        """
        scores = self.rank_all([(context, candidates)], task)[0]["scores"]
        order = np.argsort(-np.array(scores), kind="stable").tolist()
        return [{"candidate": candidates[n], "number": n, "score": scores[n]} for n in order]

    @overload
    def rank_all(  # type: ignore[overload-overlap]
        self, contexts: tuple[str, Sequence[str]], task: str | None = None
    ) -> dict[str, Any]: ...
    @overload
    def rank_all(
        self, contexts: Iterable[tuple[str, Sequence[str]]], task: str | None = None
    ) -> list[dict[str, Any]]: ...
    def rank_all(self, contexts: Any, task: str | None = None) -> Any:
        """Score the candidates of many (context, candidates).

        Args:
            contexts: a list of them, or one.
            task: its name, if the model has several.

        Returns:
            ``label`` (the number of the best candidate, from 0), ``candidate`` and all ``scores`` of each;
            ``truncated`` where something was cut.

        Raises:
            UserError: the model has no such task; something that is not a context with candidates; one that is empty.
        """
        task = rankers.ranking_task(self.config, self.tasks, task)
        items, one = as_items(contexts, "rank_all", "a context with its candidates")
        examples = [
            RankingExample(str(i), *full_candidates_of(item, f"rank_all: item {i}"))
            for i, item in enumerate(items)
        ]
        return _unwrap_single(self._predict(examples, task, ("ranking",)), one)

    def index(
        self, candidates: Iterable[str], directory: str | Path | None = None, task: str | None = None
    ) -> CandidateIndex:
        """Make the vectors of candidates, to be searched; see docs/search.md.

        Args:
            candidates: texts; of equal ones the first is kept.
            directory: a new one to keep them in; None: in memory.
            task: of kind ranking (``encoder`` bi or poly), if the model has several.

        Raises:
            UserError: the model has no such task; no candidates, or something that is not a text; the directory exists.
        """
        where = None if directory is None else local_path(directory, "the index")
        return indexing.build_index(self, indexing.candidates_from(candidates), where, task)

    @overload
    def search(  # type: ignore[overload-overlap]
        self, contexts: str, index: Index, k: int = 10, task: str | None = None
    ) -> list[dict[str, Any]]: ...
    @overload
    def search(
        self, contexts: Iterable[str], index: Index, k: int = 10, task: str | None = None
    ) -> list[list[dict[str, Any]]]: ...
    def search(self, contexts: Any, index: Index, k: int = 10, task: str | None = None) -> Any:
        """Return for each context the candidates of an index that score best, the best first.

        Args:
            contexts: a list of texts, or one.
            index: what `index` gave, or its directory.
            k: how many to find.
            task: its name; None: the one that built the index.

        Returns:
            ``candidate``, its ``id`` and ``number`` in the index, and its ``score``, that of `rank`, of each.

        Raises:
            UserError: no index, or another model's; something that is not a text.
        """
        return searching.search(self, contexts, index, k, task)

    @overload
    def detect(self, texts: str, *, cut: list[bool] | None = None) -> list[Token]: ...  # type: ignore[overload-overlap]
    @overload
    def detect(self, texts: Iterable[str], *, cut: list[bool] | None = None) -> list[list[Token]]: ...
    def detect(self, texts: Any, *, cut: list[bool] | None = None) -> Any:
        """Return for each token how likely it is that it was replaced: the discriminator's task in pre-training.

        >>> [token.text for token in pretrained.detect("Ann left")]
        ['Ann', 'left']

        Args:
            texts: a list of texts, or one.
            cut: if given, whether each text was cut is appended, and there is no warning.

        Raises:
            UserError: the model has no discriminator head, which fine-tuning drops; something that is not a text.
        """
        return detecting.detect(self, texts, cut)

    def encode(
        self,
        texts: str | Iterable[str],
        pooling: Pooling = "mean",
        layer: int | None = None,
        *,
        cut: list[bool] | None = None,
    ) -> np.ndarray:
        """Return one vector per text: the mean over its tokens, or the state of [CLS].

        >>> model.encode(["a sentence", "another"]).shape
        (2, 8)
        >>> model.encode("a sentence").shape
        (8,)

        Args:
            texts: a list of texts, or one.
            pooling: "mean" or "first".
            layer: whose states they are: 0 are the embeddings; None is the last layer, which is seldom the best of a
                discriminator (docs/sentence_vectors.md).
            cut: if given, whether each text was cut is appended, and there is no warning.

        Returns:
            float32 ``[texts, hidden]``; for one text ``[hidden]``.

        Raises:
            UserError: another pooling; a layer that it does not have; something that is not a text.
        """
        return vectors.encode(self, texts, pooling, layer, cut)

    def score(
        self,
        texts: str | Iterable[str],
        method: ScoreMethod | None = None,
        per_token: bool = False,
        *,
        end: bool = False,
        cut: list[bool] | None = None,
    ) -> Any:
        """Score each text by how likely its tokens are: the larger, the likelier (see docs/scoring.md).

        >>> good, bad = pretrained.score(["Ann left", "left Ann"], "pll")
        >>> [token.text for token in pretrained.score("Ann left", per_token=True)]
        ['Ann', 'left']

        Args:
            texts: a list of texts, or one.
            method: "lm" (log-probability by a causal model), "pll" (pseudo-log-likelihood by a masked language model
                or ELECTRA's generator), "rtd" (the discriminator's mean log(1 - p replaced)) or "electric" (negative
                energies); None: what the model is made for.
            per_token: return `ScoredToken`s; the sum of their scores (of rtd the mean) is the text's.
            end: of "lm", score that the text ends, too.
            cut: if given, whether each text was cut is appended, and there is no warning.

        Returns:
            a float for each text, or a list of its tokens.

        Raises:
            UserError: the model lacks what the score needs; something that is not a text.
        """
        return scoring.score(self, texts, method, per_token, end, cut)

    @overload
    def fill(self, texts: str, k: int = 5, *, cut: list[bool] | None = None) -> list[list[Filling]]: ...  # type: ignore[overload-overlap]
    @overload
    def fill(
        self, texts: Iterable[str], k: int = 5, *, cut: list[bool] | None = None
    ) -> list[list[list[Filling]]]: ...
    def fill(self, texts: Any, k: int = 5, *, cut: list[bool] | None = None) -> Any:
        """Return for each gap of a text, [MASK] or ___, the k tokens that the generator finds likeliest there.

        >>> (gap,) = pretrained.fill("Ann ___ .", k=2)
        >>> len(gap), gap[0].probability >= gap[1].probability
        (2, True)

        Args:
            texts: a list of texts, or one.
            k: how many tokens to propose; special tokens never are.
            cut: if given, whether only what is around each gap was read, as the text is too long, is appended for each
                text, and there is no warning.

        Returns:
            for each text a list of its gaps, each a list of `Filling`s, the likeliest first. Other gaps of the text
            stay open in them.

        Raises:
            UserError: the model has no generator; a text has no gap; something that is not a text.
        """
        return filling.fill(self, texts, k, cut)

    @overload
    def review(self, texts: str, threshold: float = 0.5, k: int = 3) -> list[SuspiciousWord]: ...  # type: ignore[overload-overlap]
    @overload
    def review(
        self, texts: Iterable[str], threshold: float = 0.5, k: int = 3
    ) -> list[list[SuspiciousWord]]: ...
    def review(self, texts: Any, threshold: float = 0.5, k: int = 3) -> Any:
        """Return the words of a text that look wrong, the most suspicious first, with what may stand in their place.

        >>> words = pretrained.review("Ann left Bob", threshold=0.0, k=2)
        >>> sorted(word.text for word in words), len(words[0].suggestions)
        (['Ann', 'Bob', 'left'], 2)

        Args:
            texts: a list of texts, or one. Of a long one all is read, in windows.
            threshold: the smallest probability that a word was replaced with which it is returned.
            k: how many suggestions for each; they are single tokens of the generator. 0: none, and the discriminator
                alone is needed.

        Returns:
            for each text a list of `SuspiciousWord`s.

        Raises:
            UserError: the model lacks the discriminator's head, or a generator; a threshold that is no probability;
                something that is not a text.
        """
        return reviewing.review(self, texts, threshold, k)

    @overload
    def refine(  # type: ignore[overload-overlap]
        self, texts: str, draft: bool = False, *, cut: list[bool] | None = None, **settings: Any
    ) -> Refinement: ...
    @overload
    def refine(
        self, texts: Iterable[str], draft: bool = False, *, cut: list[bool] | None = None, **settings: Any
    ) -> list[Refinement]: ...
    def refine(
        self, texts: Any, draft: bool = False, *, cut: list[bool] | None = None, **settings: Any
    ) -> Any:
        """Fill the gaps of each text, [MASK] or ___, by turns of generator and discriminator, or rewrite a draft.

        >>> refined = pretrained.refine("Ann ___ .", steps=2, seed=1)
        >>> refined.text.startswith("Ann "), len(refined.tokens), len(refined.trace) <= 2
        (True, 3, True)

        Args:
            texts: a list of texts, or one. In one with gaps nothing else is changed.
            draft: whether a text without a gap may be rewritten wherever the discriminator doubts it.
            cut: if given, whether each text was cut is appended, and there is no warning.
            **settings: keys of ``generation.refine`` (``steps``, ``keep``, ``temperature``, ``schedule``,
                ``threshold``), and ``seed``.

        Returns:
            a `Refinement` of each: ``text``, ``tokens`` with their p(replaced), and the ``trace`` of the passes. It
            depends on the text, its place in the list and the settings alone.

        Raises:
            UserError: the model is not a generator with its discriminator; a text has no gap and is no draft; a
                setting that does not fit; something that is not a text.
        """
        return refining.refine_texts(self, texts, draft, settings, cut)

    @overload
    def generate(
        self, prompts: str, task: str | None = None, **settings: Any
    ) -> Generation | list[Generation]: ...  # type: ignore[overload-overlap]
    @overload
    def generate(
        self, prompts: Iterable[str], task: str | None = None, **settings: Any
    ) -> list[Generation] | list[list[Generation]]: ...
    def generate(self, prompts: Any, task: str | None = None, **settings: Any) -> Any:
        """Write on from each prompt (causal language models), or write for each source (tasks of kind seq2seq).

        What is written follows from the prompt, its place in the list and the seed; not from what else is in the list,
        nor from the number of devices.

        >>> writer.generate("Ann left", max_new_tokens=4).text
        '...'
        >>> [len(texts) for texts in writer.generate(["Ann", "Bob"], max_new_tokens=4, n=3, seed=1)]
        [3, 3]

        Args:
            prompts: a list of texts, or one; "" is the beginning of a document.
            task: of kind seq2seq, where the model has several.
            **settings: keys of the section ``generation``, over those of the model: ``max_new_tokens``, ``beams``,
                ``top_p``, ``n`` and so on (``python -m electra_jax.config`` lists them); and ``rerank``, a `Reranker`
                that puts the best of several texts for a source first.

        Returns:
            a `Generation` for each prompt; with ``n`` or ``n_best`` above 1 a list of them.

        Raises:
            UserError: the model cannot write; a setting that does not fit; a prompt that leaves no room; something
                that is not a text.
        """
        return writing.generate(self, prompts, settings, task=task)

    def stream(self, prompt: str, **settings: Any) -> Iterator[str]:
        """Write on from a prompt, and yield the text piece by piece; together they are `generate`'s.

        >>> "".join(writer.stream("Ann left", max_new_tokens=4)) == writer.generate("Ann left", max_new_tokens=4).text
        True

        Args:
            prompt: a text.
            **settings: keys of the section ``generation``, over those of the model.

        Raises:
            UserError: as `generate`, and with beams or several texts.
        """
        return writing.stream(self, prompt, settings)

    def chat(
        self,
        candidates: Candidates | str | Path | None = None,
        *,
        ranker: "Model | None" = None,
        task: str | None = None,
        speakers: Marks | None = None,
        history: int | None = None,
        rerank: Reranker | None = None,
        **settings: Any,
    ) -> Conversation:
        """Begin a conversation, in which the model replies to what is said (docs/dialogue.md).

        >>> talk = writer.chat(max_new_tokens=4)
        >>> reply = talk.say("Ann left")
        >>> talk.turns == ["Ann left", reply.text]
        True

        Args:
            candidates: replies that a task of kind ranking chooses from, or retrieves from for one that writes and was
                trained so; the path of their file, or an index of them. None: the model writes.
            ranker: another model that retrieves.
            task: its name, if several can reply.
            speakers: how turns are marked: "sides", "names", "none" or "plain"; None: as the task was trained.
            history: most turns that are read, the last ones; None: as the task was trained, or as many as fit.
            rerank: says which of several texts that a task writes is the reply; None: the first.
            **settings: keys of the section ``generation``, over those of the model, where it writes.

        Raises:
            UserError: the model cannot reply so, a setting that does not fit, candidates that are none.
        """
        wanted = ReplySettings(None, ranker, task, speakers, history, rerank)
        return chatting.begin(self, candidates, wanted, settings)

    def _rows(self, ids: Sequence[Sequence[int]], cut: list[bool] | None, stacklevel: int = 3) -> Rows:
        """Return ``[CLS] text [SEP]``, cut to the length; append which were cut to ``cut``, or warn how many."""
        cls, sep, room = self.tokenizer.cls_id, self.tokenizer.sep_id, self.max_length - 2
        is_cut = [len(some) > room for some in ids]
        if cut is not None:
            cut += is_cut
        elif any(is_cut):
            warnings.warn(
                f"{sum(is_cut):,} of {len(is_cut):,} texts have more than {room} tokens and were cut",
                stacklevel=stacklevel,
            )
        rows = [np.array([cls, *some[:room], sep], np.int32) for some in ids]
        return Rows(rows, [np.zeros_like(row) for row in rows], {}, np.arange(len(rows), dtype=np.int32))

    def _predict(
        self, examples: Sequence[Any], name: str | None, kinds: Sequence[str]
    ) -> list[dict[str, Any]]:
        fitting = [known for known, task in self.tasks.items() if task.kind in kinds]
        if name is None and len(fitting) == 1:
            name = fitting[0]
        if not self.tasks:
            prompts = ", or classify by prompts with classify_zero_shot" if "classification" in kinds else ""
            raise UserError(
                f"the model is pre-trained and has no task, so none of kind {' or '.join(kinds)}: fine-tune it{prompts}"
            )
        if name not in fitting:
            there = ", ".join(fitting) or "none"
            wanted = f"no task {name!r}" if name else "no single task"
            raise UserError(f"the model has {wanted} of kind {' or '.join(kinds)}; there is: {there}")
        task = self.tasks[name]
        rows = task.encode(examples, training=False)
        check_token_types(name, rows, self.config.model)
        objective = FineTuning(self._network, self.tasks, {})
        outputs = self._run(f"task {name}", objective.outputs, rows, name)
        return task.predictions(examples, rows, outputs)

    def _run(
        self,
        what: str,
        outputs: Callable[..., Any],
        rows: Rows,
        task: str = "",
        most_rows: int | None = None,
        rows_per_device: int = ROWS_PER_DEVICE,
    ) -> dict[str, np.ndarray]:
        """Compute ``outputs`` (parameters, batch) of all rows in order; the program is kept by the name ``what``.

        Where there is no task, a batch has the rows' targets. It has ``rows_per_device`` for each accelerator, or for
        all CPU devices together, and with ``most_rows`` at most so many.
        """
        if most_rows is not None:
            rows_per_device = max(1, min(rows_per_device, most_rows))
        if what not in self._steps:
            rows_over_devices = batch_sharding(self._mesh)
            jitted = jax.jit(outputs, in_shardings=(None, rows_over_devices), out_shardings=rows_over_devices)
            self._steps[what] = WithCompileMessage(jitted, "the model")
        return predict_rows(
            self._steps[what],
            self._mesh,
            self._params,
            task,
            rows,
            batch_size=batch_size_over(self._mesh, rows_per_device),
            buckets=usable_buckets(inference_buckets(), self.max_length),
            pad_id=self.tokenizer.pad_id,
            targets=not task,
        )


def _unwrap_single(results: list[Any], one: bool) -> Any:
    return results[0] if one else results
