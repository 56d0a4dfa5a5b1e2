"""Chinese sentences for benchmarks/scrub.py: values in templates of our own, some of them disguised, and numbers that
are nobody's."""

from __future__ import annotations

import random
import re

from scrub_labels import MAKERS, Label, Labelled, chinese_mobile, digits

CHINESE = (  # {kind} stands for a value
    "请尽快拨打{phone}与我联系。", "我的手机号是{phone}，微信同号。", "如有疑问请致电{phone}或发邮件到{email}。",
    "联系人：王先生，电话{phone}请勿外传", "身份证号{cn-resident-id}，请核对后办理。",
    "本人（身份证：{cn-resident-id}）委托李女士代办。", "姓名：张伟\n证件号码：{cn-resident-id}\n手机：{phone}",
    "请将货款汇至银行卡{credit-card}，谢谢。", "卡号：{credit-card}（工商银行）",
    "退款已原路返回尾号卡{credit-card}中", "简历请投递至邮箱{email}，合则约见。", "客服邮箱：{email}。",
    "发送至{email}即可", "服务器地址是{ip}，端口八零八零。", "登录IP：{ip}，如非本人操作请修改密码",
    "用户来自{ip}（北京市联通）", "收货人陈静 {phone} 浙江省杭州市西湖区文三路100号",
)  # fmt: skip
NOTHING_PERSONAL = (  # {n} stands for so many random digits
    "订单号2023{8}{10}已发货。", "价格：¥{3},{3}.{2}元，库存{5}件。", "发布于2023年11月{2}日 14:{2}:33",
    "版本号V2.{1}.{2}.{1}已更新", "书号：ISBN 978-7-{3}-{5}-{1}", "全国人口{1}{3}万，同比增长0.{2}%",
    "圆周率约等于3.14159265358979{6}", "坐标：北纬39.9{4}，东经116.3{4}", "QQ群：{9}，欢迎加入",
    "股票代码60{4}，成交量{8}手", "第{2}.{1}.{1}.{1}节 安装说明", "比分{2}:{2}，用时{1}分{2}秒",
    "批准文号：国药准字H{8}", "共{3}页，第{2}-{2}页", "快递单号：SF{12}", "GB/T 2{4}-2020《信息技术》",
    "京ICP备{8}号", "型号：HX-{4}-{3}，功率{4}W", "时间戳17{11}毫秒",
)  # fmt: skip
WIDE = str.maketrans("0123456789@", "".join(chr(0xFEE0 + ord(character)) for character in "0123456789@"))
ZERO_WIDTH = ("\u200b", "\u200c", "\ufeff")


def disguised(chance: random.Random, value: str) -> str:
    """One in five in full-width characters, one in ten with a character of no width inside."""
    place = chance.randrange(1, len(value))
    match chance.randrange(10):
        case 0 | 1:
            return value.translate(WIDE)
        case 2:
            return value[:place] + chance.choice(ZERO_WIDTH) + value[place:]
        case _:
            return value


def chinese(chance: random.Random) -> Labelled:
    """A sentence with values, or (as often) with numbers that are none."""
    if chance.random() < 0.5:
        sentence = chance.choice(NOTHING_PERSONAL)
        return Labelled(re.sub(r"\{(\d+)\}", lambda match: digits(chance, int(match[1])), sentence), ())
    text, labels = "", []
    for piece in re.split(r"(\{[^}]+\})", chance.choice(CHINESE)):
        if not piece.startswith("{"):
            text += piece
            continue
        kind = piece[1:-1]
        value = chinese_mobile(chance) if kind == "phone" else MAKERS[kind][1](chance)
        shown = disguised(chance, value)
        labels.append(Label(len(text), len(text) + len(shown), kind, value))
        text += shown
    return Labelled(text, tuple(labels))
