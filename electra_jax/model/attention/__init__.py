"""Softmax attention: who may attend to whom, the back ends, which of them a run uses, and the module.

`mask` says who may attend to whom; `attend` computes attention by the back end that `choice` names.
"""
